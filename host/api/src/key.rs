use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The body of `POST /sessions/{name}/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Pressed one after the other, each as a keystroke of its own.
    pub keys: Vec<Key>,
}

/// A key of a keyboard: one of the names in [`Key::NAMED`], or the one character that it types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// Carriage return.
    Enter,
    /// Alone: what follows is not part of it.
    Escape,
    /// To the right.
    Tab,
    /// Tab to the left; what some agents change their mode by.
    ShiftTab,
    /// Removes the character before.
    Backspace,
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// Interrupts most programs.
    CtrlC,
    /// Types this character.
    Character(char),
}

impl Key {
    /// Those that have a name.
    pub const NAMED: [(&'static str, Key); 10] = [
        ("enter", Key::Enter),
        ("escape", Key::Escape),
        ("tab", Key::Tab),
        ("shift-tab", Key::ShiftTab),
        ("backspace", Key::Backspace),
        ("up", Key::Up),
        ("down", Key::Down),
        ("left", Key::Left),
        ("right", Key::Right),
        ("ctrl-c", Key::CtrlC),
    ];
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        if let Some((_, key)) = Key::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*key);
        }
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) if !character.is_control() => Ok(Key::Character(character)),
            _ => {
                let names = Key::NAMED.map(|(name, _)| name).join(", ");
                Err(format!(
                    "`{}` is not a key; keys are {names}, and any one character",
                    text.escape_debug()
                ))
            }
        }
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Key, String> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Key::Character(character) = self {
            return write!(f, "{character}");
        }
        let named = Key::NAMED.iter().find(|(_, key)| key == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names_or_are_one_character() {
        for (name, key) in Key::NAMED {
            assert_eq!(name.parse(), Ok(key));
            assert_eq!(key.to_string(), name);
        }
        assert_eq!("y".parse(), Ok(Key::Character('y')));
        assert_eq!("ü".parse(), Ok(Key::Character('ü')));
        for wrong in ["", "yes", "\u{1b}", "Enter", "\n"] {
            let error = wrong.parse::<Key>().unwrap_err();
            assert!(error.contains("is not a key; keys are enter, "), "{error}");
            assert!(!error.contains(char::is_control), "{error}");
        }
    }
}
