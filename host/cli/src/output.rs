use std::io::{self, IsTerminal, Stdout, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Standard output, as text or as JSON.
pub(crate) struct Output {
    stdout: Stdout,
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output {
            stdout: io::stdout(),
            json,
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.stdout.is_terminal()
    }

    /// `value` as JSON with `--json`, else what `text` makes of it.
    pub(crate) fn show<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.stdout, value)?;
            self.line("")
        } else {
            self.line(&text(value))
        }
    }

    /// `value` as JSON on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.stdout, value)?;
        self.line("")
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes)?;
        self.stdout.flush()?;
        Ok(())
    }
}
