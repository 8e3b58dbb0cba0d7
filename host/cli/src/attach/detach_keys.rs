use std::fmt;
use std::str::FromStr;

use super::key::Key;

/// The keys that end an attachment, pressed one after the other, in Docker's notation:
/// `ctrl-p,ctrl-q`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<Key>);

impl DetachKeys {
    pub(crate) fn keys(&self) -> &[Key] {
        &self.0
    }
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(vec![Key::Ctrl(b'p'), Key::Ctrl(b'q')])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<DetachKeys, String> {
        let keys: Option<Vec<Key>> = text.split(',').map(key).collect();
        keys.map(DetachKeys).ok_or_else(|| {
            "it must look like `ctrl-p,ctrl-q`: characters, or `ctrl-` with a letter or one of \
             `@[\\]^_`"
                .to_owned()
        })
    }
}

fn key(word: &str) -> Option<Key> {
    match *word.as_bytes() {
        [byte @ b'!'..=b'~'] => Some(Key::Plain(byte)),
        [b'c', b't', b'r', b'l', b'-', byte] => match byte {
            b'a'..=b'z' | b'@' | b'['..=b'_' => Some(Key::Ctrl(byte)),
            _ => None,
        },
        _ => None,
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match key {
                Key::Plain(byte) => write!(f, "{comma}{}", char::from(*byte))?,
                Key::Ctrl(byte) => write!(f, "{comma}ctrl-{}", char::from(*byte))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_notation_is_read_and_written() {
        for text in [
            "ctrl-p,ctrl-q",
            "ctrl-@",
            "a,b,ctrl-c",
            "ctrl-\\,ctrl-_",
            "~,.",
        ] {
            assert_eq!(text.parse::<DetachKeys>().unwrap().to_string(), text);
        }
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "", ",", "ctrl-", "ctrl-P", "ctrl-pq", "alt-x", "ab", "ä", " ", "ctrl-1",
        ] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text}");
        }
    }
}
