use crate::{Error, Result};

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// A client's word for one request, by which the service knows a repetition of it; the header
/// `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Takes 1 to 255 visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self> {
        let is_usable = (1..=LONGEST).contains(&text.len());
        if is_usable && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(IdempotencyKey(text.to_owned()));
        }
        let message = "the `Idempotency-Key` cannot be used".to_owned();
        Err(Error::invalid("invalid-idempotency-key", message)
            .hint("send 1 to 255 visible ASCII characters, such as a UUID"))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_not_too_long() {
        let longest = "k".repeat(255);
        for usable in ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", &longest] {
            assert_eq!(IdempotencyKey::parse(usable).unwrap().as_str(), usable);
        }
        for unusable in ["", "a b", "ä", "\n", &"k".repeat(256)] {
            let error = IdempotencyKey::parse(unusable).unwrap_err();
            assert_eq!(error.code, "invalid-idempotency-key");
        }
    }
}
