use std::io::{self, Read};
use std::process::ExitCode;

use agentd_api::{Input, Key, Keys};
use clap::Args;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::verb::name::{NAMED, parse_name};

/// Types a prompt, or presses keys.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Who gets it
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// The prompt; `-` reads it from standard input
    #[arg(required_unless_present = "keys")]
    text: Vec<String>,
    /// Leave the Enter key to you
    #[arg(long)]
    no_submit: bool,
    /// Press a key instead: `escape`, `up`, `ctrl-c`, …, or one character; may be given several times
    #[arg(long = "key", value_name = "KEY", conflicts_with_all = ["text", "no_submit"])]
    keys: Vec<Key>,
}

impl Send {
    pub(crate) async fn run(self, connection: &Connection) -> Outcome {
        let console = connection.console(&self.name).await?;
        if !self.keys.is_empty() {
            let pressed = console.keys(&Keys { keys: self.keys }).await;
            pressed.map_err(|error| connection.explain(error))?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = if self.text == ["-"] {
            from_stdin()?
        } else {
            self.text.join(" ")
        };
        let input = Input {
            text,
            submit: !self.no_submit,
        };
        let sent = console.input(&input).await;
        sent.map_err(|error| connection.explain(error))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All of standard input, without the line end that files have.
pub(crate) fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("cannot read the prompt: {error}")))?;
    let end = text.strip_suffix('\n').map_or(text.len(), |rest| {
        rest.strip_suffix('\r').unwrap_or(rest).len()
    });
    text.truncate(end);
    Ok(text)
}
