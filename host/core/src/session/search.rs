use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd_api::{LogLine, LogQuery};
use regex::{Regex, RegexBuilder};
use tokio::time::timeout;

use super::newest::Newest;
use super::reader::{Read, Reader};
use super::{Remains, Run, Session, Terminal};
use crate::{Error, Result};

/// The longest text that is looked for, in bytes.
const LONGEST_PATTERN: usize = 256;

/// A pattern takes no more memory, in bytes.
const LARGEST_PATTERN: usize = 256 * 1024;

/// Of a session so many lines are found, the newest ones.
const MOST_FOUND: usize = 10_000;

/// Of a log that only the backend has, so many lines are searched, the newest ones.
const MOST_REMOTE: u64 = 20_000;

/// How long a backend may take for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// So much of a line is answered, in bytes.
const LONGEST_LINE: usize = 1024;

/// Of what alternate screens have shown, so much is found, in bytes.
const LARGEST_SCREENS: usize = 4 << 20;

/// So many bytes of lines are looked at before others get a turn: for an expensive pattern that takes long.
const STEP: usize = 4096;

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

/// What is wanted of the lines that are found.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Lines around each.
    pub context: usize,
    /// So many of them were answered before.
    pub skip: usize,
    /// So many are answered at most.
    pub limit: usize,
    /// Nothing more is looked at then.
    pub until: Instant,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Matches {
    /// The lines that were wanted.
    pub found: Vec<Found>,
    /// Whether there was no time to look at all.
    pub incomplete: bool,
}

impl Found {
    /// How much text it is, in bytes.
    pub fn bytes(&self) -> usize {
        let around = self.before.iter().chain(&self.after);
        self.line.len() + around.map(String::len).sum::<usize>()
    }

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

    /// The lines of its log with the pattern in them, the newest first, each with those around it; then
    /// those that it has only shown on its alternate screen. None when the log cannot be read now.
    pub async fn search(&self, pattern: &Pattern, wanted: Wanted) -> Option<Matches> {
        let log = match self {
            Run::Kept(remains) => Lines::of(remains.texts()),
            Run::Here(session) if session.has_own_output() => {
                read(&session.terminal, pattern, wanted).await
            }
            Run::Here(session) => session.remote_lines().await?,
        };
        Some(find(log, pattern, wanted).await)
    }
}

/// The lines to look at.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// The number of the first one.
    first: usize,
    /// What was found on alternate screens, oldest first.
    screens: VecDeque<Found>,
    /// Whether there was no time for all of them.
    incomplete: bool,
}

impl Lines {
    fn of(lines: Vec<String>) -> Self {
        Lines {
            lines,
            ..Lines::default()
        }
    }
}

async fn find(log: Lines, pattern: &Pattern, wanted: Wanted) -> Matches {
    let Lines {
        lines,
        first,
        mut screens,
        mut incomplete,
    } = log;
    // The newest first, as those are what is left when the time is up.
    let (mut indexes, mut turns) = (Vec::new(), Turns::until(wanted.until));
    for (index, line) in lines.iter().enumerate().rev() {
        if indexes.len() == MOST_FOUND {
            break;
        }
        if pattern.is_in(line) {
            indexes.push(index);
        }
        if turns.are_over_after(line).await {
            incomplete = true;
            break;
        }
    }
    let in_log: HashSet<&str> = indexes.iter().map(|&index| lines[index].as_str()).collect();
    screens.retain(|found| !in_log.contains(found.line.as_str()));
    let found = indexes.iter().map(|&index| {
        let number = (first + index) as u64;
        Found::of(&lines, index, wanted.context, Some(number))
    });
    // None is made that is not wanted: with the lines around they are large.
    let in_log = found.skip(wanted.skip).take(wanted.limit);
    let skip = wanted.skip.saturating_sub(indexes.len());
    let on_screens = screens.into_iter().rev().skip(skip);
    let most = MOST_FOUND.saturating_sub(wanted.skip).min(wanted.limit);
    Matches {
        found: in_log.chain(on_screens).take(most).collect(),
        incomplete,
    }
}

/// Gives others a turn now and then, until the time is up.
struct Turns {
    bytes: usize,
    until: Instant,
}

impl Turns {
    fn until(until: Instant) -> Self {
        Turns { bytes: 0, until }
    }

    /// Whether the time is up after that line.
    async fn are_over_after(&mut self, line: &str) -> bool {
        self.bytes += 1 + line.len();
        if self.bytes < STEP {
            return false;
        }
        self.bytes = 0;
        tokio::task::yield_now().await;
        Instant::now() >= self.until
    }
}

/// The lines of a terminal's output, and what was found on the alternate screens that it had, looked at
/// now and then: each line once.
async fn read(terminal: &Terminal, pattern: &Pattern, wanted: Wanted) -> Lines {
    let mut reader = Reader::new(terminal);
    let log = terminal.log();
    let (head, mut lines) = (log.head(), Newest::new(usize::MAX, log.capacity()));
    let (mut screens, mut bytes, mut incomplete) = (VecDeque::new(), 0, false);
    let mut seen = HashSet::new();
    // The rest of the time is for looking at the lines.
    let now = Instant::now();
    let until = now + wanted.until.saturating_duration_since(now) / 2;
    let mut turns = Turns::until(until);
    while !incomplete && let Read::Lines(more) = reader.read(head).await {
        lines.extend(more);
        if let Some(screen) = reader.alternate_screen() {
            for (index, line) in screen.iter().enumerate() {
                let room = seen.len() < MOST_FOUND;
                if !room || !seen.insert(hash(line)) {
                    continue;
                }
                if pattern.is_in(line) {
                    let found = Found::of(&screen, index, wanted.context, None);
                    bytes += found.bytes();
                    screens.push_back(found);
                }
                if turns.are_over_after(line).await {
                    break;
                }
            }
            while bytes > LARGEST_SCREENS
                && let Some(oldest) = screens.pop_front()
            {
                bytes -= oldest.bytes();
            }
        }
        incomplete = Instant::now() >= until;
    }
    lines.extend(reader.finish());
    Lines {
        first: lines.dropped(),
        lines: lines.into_lines(),
        screens,
        incomplete,
    }
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

impl Session {
    async fn remote_lines(self: &Arc<Self>) -> Option<Lines> {
        let query = LogQuery {
            tail: Some(MOST_REMOTE),
            ..LogQuery::default()
        };
        let mut lines = self.logs(query).await.ok()?;
        let mut all = Newest::new(usize::MAX, self.terminal.log().capacity());
        let read = async {
            while let Some(line) = lines.recv().await {
                all.extend([line.line]);
            }
        };
        timeout(PATIENCE, read).await.ok()?;
        Some(Lines {
            first: all.dropped(),
            ..Lines::of(all.into_lines())
        })
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

    fn wanted(skip: usize, limit: usize) -> Wanted {
        Wanted {
            context: 2,
            skip,
            limit,
            until: Instant::now() + Duration::from_secs(600),
        }
    }

    fn log() -> Lines {
        let shown = |line: &str| Found::of(&[line.to_owned()], 0, 0, None);
        Lines {
            first: 5,
            screens: ["line 99", "line 2"].map(shown).into(),
            ..Lines::of((0..4).map(|n| format!("line {n}")).collect())
        }
    }

    #[tokio::test]
    async fn pages_join_to_all_that_is_found() {
        let pattern = Pattern::parse("line", false).unwrap();
        let all = find(log(), &pattern, wanted(0, 100)).await.found;
        let numbers: Vec<_> = all.iter().map(|found| found.number).collect();
        assert_eq!(numbers, [Some(8), Some(7), Some(6), Some(5), None]);
        for limit in 1..4 {
            let mut pages = Vec::new();
            while pages.len() < all.len() {
                let found = find(log(), &pattern, wanted(pages.len(), limit))
                    .await
                    .found;
                assert!((1..=limit).contains(&found.len()));
                pages.extend(found);
            }
            assert_eq!(pages, all);
        }
    }

    #[tokio::test]
    async fn a_search_ends_when_its_time_is_up() {
        let pattern = Pattern::parse("x", false).unwrap();
        let late = Wanted {
            until: Instant::now(),
            ..wanted(0, 10)
        };
        let lines = Lines::of(vec!["x".repeat(100); 1000]);
        let matches = find(lines, &pattern, late).await;
        assert!(matches.incomplete && matches.found.len() == 10);
        let terminal = Terminal::new(agentd_api::Size { cols: 80, rows: 24 }, 1 << 20);
        terminal.push(&b"x\r\n".repeat(100_000));
        let lines = read(&terminal, &pattern, late).await;
        assert!(lines.incomplete && lines.lines.len() < 10_000);
    }

    #[test]
    fn a_regular_expression_is_one() {
        assert!(is_in(r"\w+@\w+\.\w+", true, "write to a@b.org"));
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
