//! What may be kept in the repository: text that a person can read, and the few files named here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// A source that is longer than this was not written by hand, or should be two.
const LARGEST_TEXT: u64 = 64 << 10;

/// Files that are binary or larger, by folder and ending, and how large each of them may be.
const EXCEPTIONS: &[(&str, &str, u64)] = &[
    ("", "Cargo.lock", 256 << 10),
    ("host/ui/", "package-lock.json", 256 << 10),
    // Libraries of frozen versions of the ABI.
    ("host/conformance/tests/golden/", ".so", 4 << 20),
    // What programs wrote to a terminal.
    ("host/terminal/tests/recordings/", ".raw", 64 << 10),
];

/// Looks at every file that git has or would add.
pub fn check(repository: &Path, wrong: &mut Vec<String>) -> Result {
    for file in files(repository)? {
        let path = repository.join(&file);
        let file = file.display().to_string();
        // A file may be deleted already and still be known to git.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if !metadata.is_file() {
            continue;
        }
        let exception = EXCEPTIONS
            .iter()
            .find(|(folder, ending, _)| file.starts_with(folder) && file.ends_with(ending));
        let largest = exception.map_or(LARGEST_TEXT, |(.., largest)| *largest);
        if metadata.len() > largest {
            wrong.push(format!(
                "`{file}` has {} bytes, and at most {largest} are allowed there",
                metadata.len()
            ));
        } else if exception.is_none() && is_binary(&path)? {
            wrong.push(format!("`{file}` is a binary, which is not allowed there"));
        }
    }
    Ok(())
}

/// The paths below `repository`.
pub fn files(repository: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(repository)
        .output()
        .map_err(|error| format!("`git` cannot be started: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`git ls-files` failed: {}", reason.trim()));
    }
    let names = output.stdout.split(|byte| *byte == 0);
    Ok(names
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(OsStr::from_bytes(name)))
        .collect())
}

fn is_binary(path: &Path) -> Result<bool> {
    let bytes = fs::read(path).map_err(|error| format!("reading `{}`: {error}", path.display()))?;
    Ok(bytes.contains(&0) || std::str::from_utf8(&bytes).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(repository: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(repository);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    }

    #[test]
    fn binaries_and_large_files_are_refused_in_every_directory() {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path();
        git(root, &["init"]);
        let golden = "host/conformance/tests/golden";
        let recordings = "host/terminal/tests/recordings";
        let large = usize::try_from(LARGEST_TEXT).unwrap() + 1;
        for (path, bytes) in [
            ("README.md", "naïve".as_bytes().to_vec()),
            ("host/ui/tool.whl", b"PK\x03\x04\0\0".to_vec()),
            (".hidden/latin1.txt", b"na\xefve".to_vec()),
            ("host/ui/tests/data.json", vec![b'1'; large]),
            ("host/ui/package-lock.json", vec![b'{'; large]),
            ("target/program", vec![0; large]),
            (&format!("{golden}/library.so"), vec![0; large]),
            (&format!("{golden}/library.zip"), vec![0; 10]),
            (&format!("{recordings}/vim.raw"), vec![0xff; 10]),
            (&format!("{recordings}/htop.raw"), vec![0xff; large]),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(root.join(".gitignore"), "/target\n").unwrap();
        // One of them is committed, the others are about to be.
        git(root, &["add", "host/ui/tool.whl"]);

        let mut wrong = Vec::new();
        check(root, &mut wrong).unwrap();
        let mut refused: Vec<_> = wrong
            .iter()
            .filter_map(|sentence| sentence.split('`').nth(1))
            .collect();
        refused.sort_unstable();
        assert_eq!(
            refused,
            [
                ".hidden/latin1.txt",
                &format!("{golden}/library.zip"),
                &format!("{recordings}/htop.raw"),
                "host/ui/tests/data.json",
                "host/ui/tool.whl",
            ]
        );
    }
}
