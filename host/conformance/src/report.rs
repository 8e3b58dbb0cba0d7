use std::fmt;

use serde::{Deserialize, Serialize};

/// How one clause went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The backend does what the clause asks.
    Passed,
    /// It does not.
    Failed {
        /// What was expected and what happened.
        reason: String,
    },
    /// The clause says nothing about this backend.
    NotApplicable {
        /// Why not.
        why: String,
    },
}

/// One line of a [`Report`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The clause's name.
    pub clause: String,
    /// What the clause asks.
    pub meaning: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How to fix it, for a failed clause.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub hint: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// What was logged meanwhile, for a failed clause.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub log: String,
}

/// How all clauses went, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// One for each clause that was run.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// Whether no clause failed.
    pub fn is_conformant(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The clauses that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts
            .iter()
            .filter(|verdict| matches!(verdict.outcome, Outcome::Failed { .. }))
    }
}

impl Outcome {
    /// One word for a table.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed { .. } => "FAILED",
            Outcome::NotApplicable { .. } => "n/a",
        }
    }

    /// Why it did not pass.
    pub fn note(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed { reason } => reason,
            Outcome::NotApplicable { why } => why,
        }
    }
}

/// One line for each clause, and what was logged below those that failed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verdict in &self.verdicts {
            let Verdict {
                clause,
                outcome,
                millis,
                ..
            } = verdict;
            let (word, note) = (outcome.word(), outcome.note());
            writeln!(f, "{clause:24} {word:7} {millis:6} ms {note}")?;
            if matches!(outcome, Outcome::Failed { .. }) {
                writeln!(f, "    expected: {}", verdict.meaning)?;
                writeln!(f, "    hint: {}", verdict.hint)?;
            }
            for line in verdict.log.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}
