use std::fmt;

use crate::{Error, Result};

/// A name that every backend can use as it stands: `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName(String);

impl SessionName {
    /// Checks a name from outside.
    pub fn parse(name: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts_well && name.len() <= 63 && name.bytes().all(allowed) {
            return Ok(SessionName(name.to_owned()));
        }
        Err(Error::invalid("invalid-name", "the name is not usable").hint(
            "a name has 1 to 63 letters, digits, `_` and `-`, and begins with a letter or digit",
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_validated() {
        let longest = "a".repeat(63);
        for name in ["a", "7", "my-agent_1", longest.as_str()] {
            assert_eq!(SessionName::parse(name).unwrap().as_str(), name);
        }
        let too_long = "a".repeat(300);
        for name in [
            "",
            "-a",
            "_a",
            "a/b",
            "a\0b",
            "a.b",
            "a:b",
            "ä",
            "a b",
            too_long.as_str(),
        ] {
            assert!(SessionName::parse(name).is_err(), "{name:?}");
        }
    }
}
