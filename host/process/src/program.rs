//! The program of an agent: finding it, and saying why the kernel did not execute it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::{Error, Result, SHORTAGE_HINT, is_shortage};

/// The file that `execvp(3)` would execute for `name` in `directory` with this `$PATH`.
pub fn find(name: &OsStr, path: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(directory.join(name)).filter(|file| is_executable(file));
    }
    // An entry that is empty or relative counts from the directory.
    std::env::split_paths(path?)
        .map(|entry| directory.join(entry).join(name))
        .find(|file| is_executable(file))
}

/// The file of a program that the backend itself needs: what is not on the daemon's own `$PATH` is
/// [`Error::unavailable`]. Add as a hint what installs it.
pub fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH");
    let found = find(OsStr::new(name), path.as_deref(), Path::new("/"));
    found.ok_or_else(|| Error::unavailable(format!("`{name}` is not on the daemon's PATH")))
}

/// The same as [`find`] for an agent: what is not there is [`Error::refused`], with a sentence for the user.
pub fn require(name: &str, path: Option<&OsStr>, directory: &Path) -> Result<PathBuf> {
    if let Some(file) = find(OsStr::new(name), path, directory) {
        return Ok(file);
    }
    let not_found = Error::refused(format!("program `{name}` was not found"));
    if !name.contains('/') {
        let path = path.unwrap_or_default().display();
        return Err(not_found.hint(format!(
            "install it, or give its full path in `command`; PATH is {path}"
        )));
    }
    let file = directory.join(name);
    Err(match file.exists() {
        true => Error::refused(format!("program `{name}` is not an executable file")),
        false => not_found.hint(format!("looked for `{}`", file.display())),
    })
}

/// What `execve(2)` failed with, or `fork(2)` before it: [`Error::refused`] unless it may succeed
/// at another time.
pub fn cannot_run(name: &str, error: &io::Error) -> Error {
    let message = format!("program `{name}` cannot be run: {error}");
    if is_shortage(error) {
        return Error::unavailable(message).hint(SHORTAGE_HINT);
    }
    let refused = Error::refused(message);
    match error.kind() {
        io::ErrorKind::NotFound => {
            refused.hint("is the interpreter there that the file's first line names?")
        }
        io::ErrorKind::ArgumentListTooLong => {
            refused.hint("the kernel takes at most 128 KiB for one argument or variable")
        }
        _ => refused,
    }
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_where_execvp_finds_it() {
        let sh = |path| find(OsStr::new("sh"), Some(OsStr::new(path)), Path::new("/"));
        assert_eq!(sh("/nowhere:/bin"), Some("/bin/sh".into()));
        assert_eq!(sh("bin"), Some("/bin/sh".into()));
        assert_eq!(sh("/nowhere"), None);
        let inside = |name: &str| find(OsStr::new(name), None, Path::new("/bin"));
        assert_eq!(inside("./sh"), Some("/bin/./sh".into()));
        assert_eq!(inside("/etc/passwd"), None);
        assert_eq!(inside("sh"), None);
        assert!(installed("sh").is_ok());
        let error = installed("no-such-program").unwrap_err();
        assert_eq!(
            error.message,
            "`no-such-program` is not on the daemon's PATH"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let refusal = |name| {
            let error = require(name, Some(OsStr::new("/bin")), Path::new("/")).unwrap_err();
            (error.message, error.hint.unwrap_or_default())
        };
        let (message, hint) = refusal("no-such-program");
        assert_eq!(message, "program `no-such-program` was not found");
        assert!(hint.contains("PATH is /bin"), "{hint}");
        let (message, hint) = refusal("./no/such/program");
        assert_eq!(message, "program `./no/such/program` was not found");
        assert_eq!(hint, "looked for `/./no/such/program`");
        let (message, _) = refusal("/etc/passwd");
        assert_eq!(message, "program `/etc/passwd` is not an executable file");
    }
}
