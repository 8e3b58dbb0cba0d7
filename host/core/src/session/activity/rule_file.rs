use std::fmt;
use std::sync::OnceLock;

use agentd_api::ActivityState;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::Spanned;

/// Bytes of a compiled pattern, at most.
const LARGEST_PATTERN: usize = 1 << 20;

/// What the terminals of some programs say about what these do.
#[derive(Debug)]
pub struct RuleFile {
    /// The names of their executables; empty: all programs.
    pub programs: Vec<String>,
    /// By the window's title, the first that fits.
    pub titles: Vec<Rule>,
    /// By the screen, the first that fits.
    pub screens: Vec<Rule>,
}

/// One of them.
#[derive(Debug)]
pub struct Rule {
    /// What the program does where this fits.
    pub state: ActivityState,
    /// A word or phrase for people.
    pub reason: Option<String>,
    /// Which part of the screen.
    pub region: Region,
    /// What has to be there.
    pattern: Pattern,
    /// What must not.
    unless: Option<Pattern>,
}

/// A regular expression, compiled when it is needed first: that takes much longer than to read it.
#[derive(Debug)]
struct Pattern {
    text: String,
    offset: usize,
    compiled: OnceLock<Option<Regex>>,
}

/// A part of the screen, as lines without the empty ones at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// All of it.
    All,
    /// The first lines.
    Top(usize),
    /// The last lines.
    Bottom(usize),
    /// The lines that end at the cursor.
    Cursor(usize),
}

/// What is wrong with a rule file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleFileError {
    line: usize,
    reason: String,
}

impl fmt::Display for RuleFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    title: Vec<Entry>,
    #[serde(default)]
    screen: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    state: ActivityState,
    reason: Option<String>,
    #[serde(default)]
    region: RegionName,
    lines: Option<Spanned<usize>>,
    pattern: Spanned<String>,
    unless: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RegionName {
    #[default]
    Bottom,
    Top,
    Cursor,
    All,
}

impl RuleFile {
    /// Reads one, and checks its patterns.
    pub fn parse(text: &str) -> Result<Self, RuleFileError> {
        let file = RuleFile::parse_unchecked(text)?;
        for rule in file.titles.iter().chain(&file.screens) {
            for pattern in [Some(&rule.pattern), rule.unless.as_ref()]
                .into_iter()
                .flatten()
            {
                pattern.compile().map_err(|error| {
                    let words = error.to_string();
                    let last = words.lines().last().unwrap_or_default();
                    let last = last.trim_start_matches("error: ");
                    RuleFileError {
                        line: line_of(text, pattern.offset),
                        reason: format!("the pattern cannot be used: {last}"),
                    }
                })?;
            }
        }
        Ok(file)
    }

    /// Reads one whose patterns are known to be good: one that is not fits nothing.
    pub fn parse_unchecked(text: &str) -> Result<Self, RuleFileError> {
        let file: File = toml::from_str(text).map_err(|error| RuleFileError {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            reason: error.message().to_owned(),
        })?;
        let rule = |entry| {
            Rule::of(entry).map_err(|(offset, reason)| RuleFileError {
                line: line_of(text, offset),
                reason,
            })
        };
        Ok(RuleFile {
            programs: file.programs,
            titles: file.title.into_iter().map(rule).collect::<Result<_, _>>()?,
            screens: file
                .screen
                .into_iter()
                .map(rule)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is about a program that is started so: one of the first words may be another
    /// program that starts it, such as `npx`.
    pub fn is_about(&self, command: &[String]) -> bool {
        const FIRST: usize = 4;
        let arguments = command.iter().take(FIRST);
        let words = arguments.filter_map(|argument| argument.split_whitespace().next());
        let mut names = words.map(|word| {
            let name = word.rsplit('/').next().unwrap_or(word);
            name.trim_end_matches(".js")
        });
        self.programs.is_empty() || names.any(|name| self.programs.iter().any(|its| its == name))
    }
}

impl Rule {
    /// An error says where it is.
    fn of(entry: Entry) -> Result<Self, (usize, String)> {
        let Entry {
            state,
            reason,
            region,
            lines,
            pattern,
            unless,
        } = entry;
        if let Some(none) = lines.as_ref().filter(|lines| *lines.get_ref() == 0) {
            return Err((none.span().start, "`lines` is at least 1".to_owned()));
        }
        let count = lines.map(Spanned::into_inner);
        Ok(Rule {
            state,
            reason,
            region: match (region, count) {
                (RegionName::All, _) | (RegionName::Bottom | RegionName::Top, None) => Region::All,
                (RegionName::Bottom, Some(count)) => Region::Bottom(count),
                (RegionName::Top, Some(count)) => Region::Top(count),
                (RegionName::Cursor, count) => Region::Cursor(count.unwrap_or(1)),
            },
            pattern: Pattern::new(pattern),
            unless: unless.map(Pattern::new),
        })
    }

    /// Whether it fits this text.
    pub fn fits(&self, text: &str) -> bool {
        let unless = self.unless.as_ref();
        self.pattern.is_match(text) && !unless.is_some_and(|unless| unless.is_match(text))
    }
}

impl Pattern {
    fn new(pattern: Spanned<String>) -> Self {
        Pattern {
            offset: pattern.span().start,
            text: pattern.into_inner(),
            compiled: OnceLock::new(),
        }
    }

    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text)
            .multi_line(true)
            .size_limit(LARGEST_PATTERN)
            .build()
    }

    fn is_match(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| self.compile().ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset.min(text.len())].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(text: &str, line: usize, part: &str) {
        let error = RuleFile::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        check_error("programs = [\n", 1, "unclosed array");
        check_error("programs = []\nfoo = 1", 2, "unknown field `foo`");
        let rule =
            |rest: &str| format!("programs = [\"a\"]\n\n[[screen]]\nstate = \"idle\"\n{rest}");
        check_error(&rule("pattern = '('"), 5, "unclosed group");
        check_error(&rule("pattern = 'a'\nunless = '['"), 6, "cannot be used");
        check_error(&rule("pattern = 'a'\nlines = 0"), 6, "at least 1");
        check_error(&rule("pattern = '(a{1000}){1000}'"), 5, "cannot be used");
        check_error("[[title]]\nstate = \"busy\"\npattern = ''", 2, "busy");
        check_error("[[title]]\nstate = \"idle\"", 1, "pattern");
    }

    #[test]
    fn a_program_is_known_by_its_name_however_it_is_started() {
        let file = RuleFile::parse("programs = [\"claude\"]").unwrap();
        let is_about = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            file.is_about(&words)
        };
        assert!(is_about(&["claude", "--model", "x"]));
        assert!(is_about(&["/usr/bin/claude"]));
        assert!(is_about(&["npx", "--yes", "claude"]));
        assert!(is_about(&["bash", "-lc", "claude --continue"]));
        assert!(is_about(&["node", "/opt/bin/claude.js"]));
        assert!(!is_about(&["claudette"]));
        assert!(!is_about(&[]));
        assert!(
            RuleFile::parse("")
                .unwrap()
                .is_about(&["anything".to_owned()])
        );
    }
}
