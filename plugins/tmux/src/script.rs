//! What tmux reads from its standard input: commands in the syntax of its configuration file.

use std::ffi::OsStr;
use std::fmt::Write as _;

/// Commands that run as one: the first that fails is the last that runs.
#[derive(Debug, Default)]
pub struct Script {
    assignments: String,
    commands: String,
}

impl Script {
    /// Adds a command.
    pub fn command<I>(&mut self, arguments: I) -> &mut Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        if !self.commands.is_empty() {
            // On one line, because tmux goes on with the next line after a failure.
            self.commands.push_str(" ; ");
        }
        for argument in arguments {
            quote(argument.as_ref(), &mut self.commands);
            self.commands.push(' ');
        }
        self
    }

    /// Defines a variable that formats can read (`#{name}`) and no process gets. Commands are
    /// kept in the server's message log (`show-messages`) and this is not. It is global, so `name`
    /// must be nobody else's, and has to be removed again.
    pub fn hidden(&mut self, name: &str, value: &OsStr) -> &mut Self {
        self.assignments.push_str("%hidden ");
        self.assignments.push_str(name);
        self.assignments.push('=');
        quote(value, &mut self.assignments);
        self.assignments.push('\n');
        self
    }

    /// What tmux reads.
    pub fn finish(self) -> Vec<u8> {
        let mut text = self.assignments;
        text.push_str(&self.commands);
        text.push('\n');
        text.into_bytes()
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
    fn what_might_mean_something_is_escaped() {
        let mut script = Script::default();
        script
            .hidden("SECRET", OsStr::new("a\nb"))
            .command(["display-message", "#{x} $HOME; \"ü\""])
            .command(["list-sessions", ""]);
        assert_eq!(
            String::from_utf8(script.finish()).unwrap(),
            "%hidden SECRET=\"a\\012b\"\n\
             \"display-message\" \"\\043\\173x\\175\\040\\044HOME\\073\\040\\042\\303\\274\\042\"  \
             ; \"list-sessions\" \"\" \n"
        );
    }
}
