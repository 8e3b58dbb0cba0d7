//! A table of what was attacked and broken and what came of it, from what the tests' comments say and
//! from how the tests ended.

mod marks;
mod table;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::tool::{root, say, show};
use crate::watch::{Outcome, watch};
use marks::Mark;
pub use marks::marks;
use table::{Fuzzed, Verdict, table};

/// Where a test is noted that could not be run here, see `host/core/src/testing.rs`.
const LEFT_OUT: &str = "AGENTD_TESTS_LEFT_OUT";

/// So many lines of what failed are shown once more at the end: the table is long.
const LAST_LINES: usize = 30;

/// How the tests of a run ended.
#[derive(Debug)]
pub struct Report {
    marks: Vec<Mark>,
    outcomes: Vec<Outcome>,
    fuzzed: Vec<Fuzzed>,
    left_out: PathBuf,
}

impl Report {
    /// Of a run that begins.
    pub fn begin() -> Result<Self> {
        let left_out =
            std::env::temp_dir().join(format!("agentd-tests-left-out-{}", std::process::id()));
        Ok(Report {
            marks: marks(root())?,
            outcomes: Vec::new(),
            fuzzed: Vec::new(),
            left_out,
        })
    }

    /// Runs tests, and remembers how they end. The error has the last lines that they printed.
    pub fn run(&mut self, mut command: Command) -> Result {
        let shown = show(&command);
        command.env(LEFT_OUT, &self.left_out);
        let mut last = VecDeque::with_capacity(LAST_LINES);
        let status = watch(command, |line| {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
            self.outcomes.extend(Outcome::read(line));
            self.fuzzed.extend(Fuzzed::read(line));
        })?;
        match status.success() {
            true => Ok(()),
            false => {
                let last: String = last.iter().map(|line| format!("\n    {line}")).collect();
                Err(format!("`{shown}` failed: {status}{last}"))
            }
        }
    }

    /// Prints the table, and writes it to a file too.
    pub fn end(self, file: Option<&Path>) -> Result {
        let left_out = fs::read_to_string(&self.left_out).unwrap_or_default();
        let _ = fs::remove_file(&self.left_out);
        let left_out: Vec<&str> = left_out.lines().collect();
        let verdict = |mark: &Mark| Verdict::of(mark, &self.outcomes, &left_out);
        let rows: Vec<_> = self
            .marks
            .iter()
            .map(|mark| (mark, verdict(mark)))
            .collect();
        let table = table(&rows, &self.fuzzed);
        say(&table);
        let Some(file) = file else { return Ok(()) };
        fs::write(file, table).map_err(|error| format!("writing `{}`: {error}", file.display()))?;
        say(&format!("written to `{}`", file.display()));
        Ok(())
    }
}
