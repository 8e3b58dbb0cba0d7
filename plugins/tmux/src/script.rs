//! What tmux reads from its standard input, or runs on a condition: commands in the syntax of its configuration file.

use std::ffi::OsStr;
use std::fmt::Write as _;

/// Commands that run as one: the first that fails is the last that runs.
#[derive(Debug, Default)]
pub struct Script(String);

impl Script {
    /// Adds a command.
    pub fn command<I>(&mut self, arguments: I) -> &mut Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        if !self.0.is_empty() {
            // On one line, because tmux goes on with the next line after a failure.
            self.0.push_str(" ; ");
        }
        for argument in arguments {
            quote(argument.as_ref(), &mut self.0);
            self.0.push(' ');
        }
        self
    }

    /// Adds the commands of another.
    pub fn append(&mut self, other: Script) {
        if !self.0.is_empty() {
            self.0.push_str(" ; ");
        }
        self.0.push_str(&other.0);
    }

    /// What tmux takes as an argument.
    pub fn into_argument(self) -> String {
        self.0
    }

    /// What tmux reads.
    pub fn finish(self) -> Vec<u8> {
        (self.0 + "\n").into_bytes()
    }
}

/// Double quotes, with every byte that might mean something as an octal escape.
fn quote(argument: &OsStr, script: &mut String) {
    script.push('"');
    for byte in argument.as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'=' => {
                script.push(char::from(*byte));
            }
            other => {
                // Writing to a string cannot fail.
                let _ = write!(script, "\\{other:03o}");
            }
        }
    }
    script.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        let mut script = Script::default();
        script
            .command(["display-message", "#{x} $HOME; \"ü\""])
            .command(["list-sessions", ""]);
        assert_eq!(
            String::from_utf8(script.finish()).unwrap(),
            "\"display-message\" \"\\043\\173x\\175\\040\\044HOME\\073\\040\\042\\303\\274\\042\"  \
             ; \"list-sessions\" \"\" \n"
        );
    }
}
