//! Which tests show what: an attack or a fault is one where the test's comment says so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::tidy::files::files;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What somebody tries.
    Attack,
    /// What breaks.
    Fault,
}

/// A test of an attack or a fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    pub kind: Kind,
    /// What is tried, or what breaks.
    pub what: String,
    /// What has to come of it.
    pub then: String,
    /// The file of the test.
    pub file: PathBuf,
    /// The test's function, or its title in a test of the page.
    pub test: String,
    /// The package of a test in Rust.
    pub package: Option<String>,
}

/// Those in the sources of the repository.
pub fn marks(repository: &Path) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for file in files(repository)? {
        let name = file.display().to_string();
        // Not this crate itself, which has examples of them.
        if name.starts_with("xtask/") || !(name.ends_with(".rs") || name.ends_with(".test.ts")) {
            continue;
        }
        // A file may be deleted already and still be known to git.
        let Ok(text) = fs::read_to_string(repository.join(&file)) else {
            continue;
        };
        let found = marks_of(&file, &text)?;
        if !found.is_empty() {
            let package = package(repository, &file);
            marks.extend(found.into_iter().map(|mark| Mark {
                package: package.clone(),
                ..mark
            }));
        }
    }
    Ok(marks)
}

/// The name in the nearest manifest above.
fn package(repository: &Path, file: &Path) -> Option<String> {
    let manifest = |folder: &Path| fs::read_to_string(repository.join(folder).join("Cargo.toml"));
    let manifest = file
        .ancestors()
        .skip(1)
        .find_map(|folder| manifest(folder).ok())?;
    let name = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = "))?;
    Some(name.trim_matches('"').to_owned())
}

/// Those in one file.
fn marks_of(file: &Path, text: &str) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some((kind, first)) = beginning(line) else {
            continue;
        };
        let wrong = |why| format!("`{}` line {}: {why}", file.display(), number + 1);
        let mut said = first.to_owned();
        let test = loop {
            let (_, line) = lines.next().ok_or_else(|| wrong("no test follows"))?;
            match comment(line) {
                Some(more) => said = format!("{said} {more}"),
                None if test_name(line).is_some() => break test_name(line),
                // Attributes, which may have several lines.
                None if line.trim().is_empty() || line == "}" => break None,
                None => (),
            }
        };
        let test = test.ok_or_else(|| wrong("no test follows"))?.to_owned();
        let said = said.trim_end_matches("*/").trim();
        let (what, then) = said
            .split_once(". Then: ")
            .ok_or_else(|| wrong("it does not say `. Then: ` what has to come of it"))?;
        marks.push(Mark {
            kind,
            what: what.to_owned(),
            then: then.trim_end_matches('.').to_owned(),
            file: file.to_owned(),
            test,
            package: None,
        });
    }
    Ok(marks)
}

/// What a line of a comment says.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    ["/// ", "/** ", "* "]
        .iter()
        .find_map(|begin| line.strip_prefix(begin))
}

fn beginning(line: &str) -> Option<(Kind, &str)> {
    let said = comment(line)?;
    let is = |word, kind| Some((kind, said.strip_prefix(word)?));
    is("Attack: ", Kind::Attack).or_else(|| is("Fault: ", Kind::Fault))
}

/// The name of the test that begins in this line.
fn test_name(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(title) = line.strip_prefix("test('") {
        return title.split_once('\'').map(|(title, _)| title);
    }
    let declared = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = declared.strip_prefix("fn ")?.split_once('(')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(Kind, String, String, String)>> {
        let marks = marks_of(Path::new("a.rs"), text)?;
        let of = |mark: Mark| (mark.kind, mark.what, mark.then, mark.test);
        Ok(marks.into_iter().map(of).collect())
    }

    #[test]
    fn a_test_says_what_is_tried_and_what_comes_of_it() {
        let text = "
/// Attack: a name that is a path. Then: 404,
/// and nothing else.
#[tokio::test]
#[expect(
    clippy::unwrap_used,
    reason = \"it says so\"
)]
async fn names_are_names() {
}

/// Attack by any other name.
#[test]
fn other() {}

    /// Fault: the disk is full. Then: it says so.
    #[test]
    fn full() {}

/** Attack: a page asks. Then: it is refused. */
test('a page asks', async () => {
";
        let marks = read(text).unwrap();
        let expected = [
            (
                Kind::Attack,
                "a name that is a path",
                "404, and nothing else",
                "names_are_names",
            ),
            (Kind::Fault, "the disk is full", "it says so", "full"),
            (Kind::Attack, "a page asks", "it is refused", "a page asks"),
        ];
        let expected = expected.map(|(kind, what, then, test)| {
            (kind, what.to_owned(), then.to_owned(), test.to_owned())
        });
        assert_eq!(marks, expected);
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        read("/// Attack: a. Then: b.\nconst A: u8 = 0;\n\nfn f() {}").unwrap_err();
        read("/// Attack: a. Then: b.").unwrap_err();
        read("/// Attack: a.\n#[test]\nfn f() {}").unwrap_err();
    }
}
