use std::fmt;

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

/// 256 random bits or a user's own token; never shown, compared in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A new one, as 64 hexadecimal digits.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        // Requests of up to 256 bytes are never cut short and fail only on kernels without the
        // system call (getrandom(2)).
        let filled = getrandom(&mut bytes, GetRandomFlags::empty());
        assert_eq!(filled, Ok(bytes.len()), "the kernel has no random numbers");
        Secret(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// One that came from elsewhere.
    pub fn from_text(text: String) -> Self {
        Secret(text)
    }

    /// The text, for handing it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
