use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use agentd_api::ActivityState;

use super::rule_file::{Region, RuleFile};

/// The files that come with agentd: programs by name, and what all programs have in common.
const BUNDLED: [(&str, &str); 6] = [
    ("claude.toml", include_str!("rules/claude.toml")),
    ("codex.toml", include_str!("rules/codex.toml")),
    ("opencode.toml", include_str!("rules/opencode.toml")),
    ("gemini.toml", include_str!("rules/gemini.toml")),
    ("crush.toml", include_str!("rules/crush.toml")),
    ("any.toml", include_str!("rules/any.toml")),
];

/// No file of rules is larger, in bytes.
const LARGEST_FILE: u64 = 256 << 10;

/// So many files of a directory are read.
const MOST_FILES: usize = 200;

/// What terminals say about what their programs do. Clones are the same rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// In the order in which they count.
    files: Arc<[RuleFile]>,
}

/// Those that are about one program.
#[derive(Clone, Debug)]
pub struct ProgramRules {
    rules: Rules,
    /// Their places.
    files: Box<[usize]>,
}

/// What a terminal shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The rows of the screen, without trailing blanks.
    pub lines: Vec<String>,
    /// The column and the row of the cursor, from 0; none where it is not known.
    pub cursor: Option<(u16, u16)>,
    /// The window's title.
    pub title: String,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the program does.
    pub state: ActivityState,
    /// A word or phrase for people.
    pub reason: Option<String>,
}

impl Rules {
    /// Those that come with agentd.
    pub fn bundled() -> Self {
        Rules::with(Vec::new())
    }

    /// The same, after those of the files `*.toml` in a directory. A file that is wrong is logged and
    /// ignored.
    pub fn in_directory(directory: &Path) -> Self {
        let paths = match toml_files(directory) {
            Ok(paths) => paths,
            Err(error) => {
                let directory = directory.display();
                tracing::warn!("the directory of rules `{directory}` cannot be read: {error}");
                Vec::new()
            }
        };
        let read = |path: &std::path::PathBuf| {
            let file = read(path)
                .and_then(|text| RuleFile::parse(&text).map_err(|error| error.to_string()));
            file.inspect_err(|error| {
                tracing::warn!("the rules of `{}` are ignored: {error}", path.display());
            })
            .ok()
        };
        Rules::with(paths.iter().filter_map(read).collect())
    }

    fn with(mut files: Vec<RuleFile>) -> Self {
        for (name, text) in BUNDLED {
            match RuleFile::parse_unchecked(text) {
                Ok(file) => files.push(file),
                Err(error) => unreachable!("{name}: {error}"),
            }
        }
        Rules {
            files: files.into(),
        }
    }

    /// Those for a program that is started so.
    pub fn of(&self, command: &[String]) -> ProgramRules {
        let files = self.files.iter().enumerate();
        let about = files.filter(|(_, file)| file.is_about(command));
        ProgramRules {
            files: about.map(|(index, _)| index).collect(),
            rules: self.clone(),
        }
    }
}

impl ProgramRules {
    /// Whether one says what the screen of a program looks like that does nothing: it shows its prompt.
    pub fn know_prompt(&self) -> bool {
        let files = self.files.iter().map(|index| &self.rules.files[*index]);
        let mut screens = files.flat_map(|file| &file.screens);
        screens.any(|rule| rule.state == ActivityState::Idle)
    }

    /// What the screen says, or else the title.
    pub fn judge(&self, picture: &Picture) -> Option<Verdict> {
        let files = || self.files.iter().map(|index| &self.rules.files[*index]);
        let screen = files()
            .flat_map(|file| &file.screens)
            .find(|rule| rule.fits(&picture.part(rule.region)));
        let title = || {
            files()
                .flat_map(|file| &file.titles)
                .find(|rule| rule.fits(&picture.title))
        };
        let rule = screen.or_else(title)?;
        Some(Verdict {
            state: rule.state,
            reason: rule.reason.clone(),
        })
    }
}

impl Picture {
    fn part(&self, region: Region) -> String {
        let end = self.lines.iter().rposition(|line| !line.is_empty());
        let lines = &self.lines[..end.map_or(0, |end| end + 1)];
        match region {
            Region::All => lines.join("\n"),
            Region::Top(count) => lines[..count.min(lines.len())].join("\n"),
            Region::Bottom(count) => lines[lines.len().saturating_sub(count)..].join("\n"),
            Region::Cursor(count) => {
                let Some((_, row)) = self.cursor else {
                    return self.part(Region::Bottom(count));
                };
                let end = (usize::from(row) + 1).min(self.lines.len());
                self.lines[end.saturating_sub(count)..end].join("\n")
            }
        }
    }
}

fn toml_files(directory: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() > MOST_FILES {
        let directory = directory.display();
        tracing::warn!("of the rules in `{directory}` the first {MOST_FILES} files are read");
        paths.truncate(MOST_FILES);
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > LARGEST_FILE {
        return Err(format!("it is larger than {LARGEST_FILE} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Whatever a file of rules has in it, it is taken and looks at any screen, or it is refused with one of
/// its lines.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn any_file(text: &str) {
    let file = match RuleFile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            let said = error.to_string();
            let line = said
                .strip_prefix("line ")
                .and_then(|said| said.split_once(':'));
            let line: Option<usize> = line.and_then(|(line, _)| line.parse().ok());
            let lines = 1 + text.matches('\n').count();
            assert!(
                line.is_some_and(|line| (1..=lines).contains(&line)),
                "{said}"
            );
            return;
        }
    };
    let rules = Rules::with(vec![file]).of(&["codex".to_owned()]);
    for cursor in [None, Some((0, 1)), Some((9, u16::MAX))] {
        let lines = ["Would you like to?", "", "› 1. Yes 漢", ""];
        rules.judge(&Picture {
            lines: lines.map(str::to_owned).to_vec(),
            cursor,
            title: "⠋ title".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use ActivityState::{Idle, Waiting, Working};

    use super::*;

    #[test]
    fn the_bundled_files_are_right() {
        for (name, text) in BUNDLED {
            RuleFile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// The cursor is at the end of the last line.
    #[track_caller]
    fn check(program: &str, screen: &str, expected: Option<(ActivityState, Option<&str>)>) {
        let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
        let row = lines.len().saturating_sub(1).try_into().unwrap_or(0);
        let picture = Picture {
            cursor: Some((0, row)),
            lines,
            title: String::new(),
        };
        let verdict = Rules::bundled().of(&[program.to_owned()]).judge(&picture);
        let verdict = verdict.as_ref();
        let found = verdict.map(|verdict| (verdict.state, verdict.reason.as_deref()));
        assert_eq!(found, expected, "{screen}");
    }

    #[test]
    fn a_question_is_where_the_cursor_is() {
        let question = Some((Waiting, Some("question")));
        check("sh", "Overwrite it? [y/N] ", question);
        check(
            "sh",
            "Continue connecting (yes/no/[fingerprint])? ",
            question,
        );
        check("sh", "What is your name?", question);
        check("sh", "Overwrite it? [y/N] y\ndone\n$ ", None);
        check(
            "sh",
            "[sudo] password for me: ",
            Some((Waiting, Some("password"))),
        );
        check(
            "sh",
            "Press any key to continue",
            Some((Waiting, Some("key"))),
        );
        check("sh", "a line\n--More--", Some((Waiting, Some("pager"))));
        check("sh", "warning: 3 tests failed\n$ ", None);
    }

    #[test]
    fn rules_of_a_program_are_for_it_alone() {
        let screen = "thinking (esc to interrupt)";
        check("claude", screen, Some((Working, None)));
        check("sh", screen, None);
        check(
            "gemini",
            "> Type your message or @path/to/file",
            Some((Idle, None)),
        );
    }
}
