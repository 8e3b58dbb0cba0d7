use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{LogLine, LogQuery};
use regex::{Regex, RegexBuilder};
use tokio::time::timeout;

use super::reader::{Read, Reader};
use super::{Remains, Run, Session, Terminal};
use crate::{Error, Result};

/// The longest text that is looked for, in bytes.
const LONGEST_PATTERN: usize = 256;

/// A pattern takes no more memory, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Of a session so many lines are found, the newest ones.
const MOST_FOUND: usize = 10_000;

/// Of a log that only the backend has, so many lines are searched, the newest ones.
const MOST_REMOTE: u64 = 20_000;

/// How long a backend may take for that.
const PATIENCE: Duration = Duration::from_secs(2);

/// So much of a line is answered, in bytes.
const LONGEST_LINE: usize = 1024;

/// So many lines are looked at before others get a turn.
const STEP: usize = 1000;

/// What is looked for in lines.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// The text itself, or what it means as a regular expression. Upper and lower case are the same, unless
    /// there is upper case in it.
    pub fn parse(text: &str, is_regex: bool) -> Result<Self> {
        let invalid = |message| Error::invalid("invalid-search", message);
        if text.is_empty() || text.len() > LONGEST_PATTERN {
            let message = format!("`q` has {} bytes", text.len());
            return Err(
                invalid(message).hint(format!("look for 1 to {LONGEST_PATTERN} bytes of text"))
            );
        }
        let mut previous = ' ';
        let has_upper_case = text.chars().any(|c| {
            // `\S` and the like are no letters of the text.
            let is_class = is_regex && previous == '\\';
            previous = if is_class { ' ' } else { c };
            c.is_uppercase() && !is_class
        });
        let pattern = match is_regex {
            true => text.to_owned(),
            false => regex::escape(text),
        };
        let pattern = RegexBuilder::new(&pattern)
            .case_insensitive(!has_upper_case)
            .size_limit(LARGEST_PATTERN)
            .build();
        pattern.map(Pattern).map_err(|error| {
            let why = match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                error => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    last.trim_start_matches("error: ").to_owned()
                }
            };
            invalid(format!("`q` is not a regular expression: {why}"))
                .hint("leave `regex` out to look for the text itself")
        })
    }

    fn is_in(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

/// A line that was found, with those around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which line of the log it is, from 0 on; none of one that only a full-screen program showed.
    pub number: Option<u64>,
    /// The line.
    pub line: String,
    /// Those before it.
    pub before: Vec<String>,
    /// Those after it.
    pub after: Vec<String>,
}

impl Found {
    fn of(lines: &[String], index: usize, context: usize, number: Option<u64>) -> Self {
        let part = |range: Range<usize>| lines[range].iter().map(|line| cut(line)).collect();
        let end = lines.len().min(index + 1 + context);
        Found {
            number,
            line: cut(&lines[index]),
            before: part(index.saturating_sub(context)..index),
            after: part(index + 1..end),
        }
    }
}

impl Run {
    /// The id of the session.
    pub fn id(&self) -> &str {
        match self {
            Run::Here(session) => &session.id,
            Run::Kept(remains) => &remains.id,
        }
    }

    /// The lines of its log with the pattern in them, the newest first, each with `context` lines around;
    /// then those that it has only shown on its alternate screen. None when the log cannot be read now.
    pub async fn search(&self, pattern: &Pattern, context: usize) -> Option<Vec<Found>> {
        let mut screens = Vec::new();
        let lines = match self {
            Run::Kept(remains) => remains.texts(),
            Run::Here(session) if session.has_own_output() => {
                read(&session.terminal, pattern, context, &mut screens).await
            }
            Run::Here(session) => session.remote_lines().await?,
        };
        let mut numbers = Vec::new();
        for (step, part) in lines.chunks(STEP).enumerate() {
            let found = (0..part.len()).filter(|&index| pattern.is_in(&part[index]));
            numbers.extend(found.map(|index| step * STEP + index));
            tokio::task::yield_now().await;
        }
        let newest = numbers.iter().rev().take(MOST_FOUND);
        let mut found: Vec<Found> = newest
            .map(|&index| Found::of(&lines, index, context, Some(index as u64)))
            .collect();
        let in_log: HashSet<&str> = numbers.iter().map(|&index| lines[index].as_str()).collect();
        screens.retain(|found| !in_log.contains(found.line.as_str()));
        found.extend(screens.into_iter().rev());
        found.truncate(MOST_FOUND);
        Some(found)
    }
}

/// The lines of a terminal's output, and what was found on the alternate screens that it had, looked at
/// now and then: each line once.
async fn read(
    terminal: &Terminal,
    pattern: &Pattern,
    context: usize,
    screens: &mut Vec<Found>,
) -> Vec<String> {
    let mut reader = Reader::new(terminal);
    let (head, mut lines) = (terminal.log().head(), Vec::new());
    let mut seen = HashSet::new();
    while let Read::Lines(more) = reader.read(head).await {
        lines.extend(more);
        if let Some(screen) = reader.alternate_screen() {
            for (index, line) in screen.iter().enumerate() {
                let room = seen.len() < MOST_FOUND;
                if room && seen.insert(hash(line)) && pattern.is_in(line) {
                    screens.push(Found::of(&screen, index, context, None));
                }
            }
        }
    }
    lines.extend(reader.finish());
    lines
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

impl Session {
    async fn remote_lines(self: &Arc<Self>) -> Option<Vec<String>> {
        let query = LogQuery {
            tail: Some(MOST_REMOTE),
            ..LogQuery::default()
        };
        let mut lines = self.logs(query).await.ok()?;
        let mut all = Vec::new();
        let read = async {
            while let Some(line) = lines.recv().await {
                all.push(line.line);
            }
        };
        timeout(PATIENCE, read).await.ok()?;
        Some(all)
    }
}

impl Remains {
    fn texts(&self) -> Vec<String> {
        let lines = self.lines.split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<LogLine>(line).ok());
        lines.map(|line| line.line).collect()
    }
}

fn cut(line: &str) -> String {
    let mut end = line.len().min(LONGEST_LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(text: &str, is_regex: bool, line: &str) -> bool {
        Pattern::parse(text, is_regex).unwrap().is_in(line)
    }

    #[test]
    fn text_is_looked_for_as_it_is() {
        assert!(is_in("a.b(", false, "xA.B("));
        assert!(!is_in("a.b", false, "axb"));
        assert!(is_in("Ab", false, "Ab") && !is_in("Ab", false, "ab"));
        assert!(is_in("ä", false, "Ä"));
    }

    #[test]
    fn a_regular_expression_is_one() {
        assert!(is_in(r"^e\S+\d$", true, "Error7"));
        assert!(!is_in(r"^E\S+\d$", true, "error7"));
        let error = Pattern::parse("(a", true).unwrap_err();
        assert_eq!(
            error.message,
            "`q` is not a regular expression: unclosed group"
        );
        let error = Pattern::parse("(a{1000}){1000}", true).unwrap_err();
        assert_eq!(
            error.message,
            "`q` is not a regular expression: it is too large"
        );
        for text in ["", &"x".repeat(LONGEST_PATTERN + 1)] {
            assert!(Pattern::parse(text, false).is_err());
        }
    }

    #[test]
    fn lines_around_end_at_the_ends() {
        let lines: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let found = Found::of(&lines, 0, 2, None);
        assert_eq!((found.before.len(), found.after.len()), (0, 2));
        let found = Found::of(&lines, 2, 1, None);
        assert_eq!((found.before, found.after.len()), (vec!["b".to_owned()], 0));
        assert_eq!(cut(&"ä".repeat(LONGEST_LINE)).len(), LONGEST_LINE);
    }
}
