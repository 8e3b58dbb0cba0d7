//! Finding a program the way `execvp` does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The file that running `name` in `directory` with this `$PATH` would execute.
pub fn find(name: &OsStr, path: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(directory.join(name)).filter(|file| is_executable(file));
    }
    // An entry that is empty or relative counts from the directory.
    std::env::split_paths(path?)
        .map(|entry| directory.join(entry).join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_execvp_does() {
        let sh = |path| find(OsStr::new("sh"), Some(OsStr::new(path)), Path::new("/"));
        assert_eq!(sh("/nowhere:/bin"), Some("/bin/sh".into()));
        assert_eq!(sh("bin"), Some("/bin/sh".into()));
        assert_eq!(sh("/nowhere"), None);
        let inside = |name: &str| find(OsStr::new(name), None, Path::new("/bin"));
        assert_eq!(inside("./sh"), Some("/bin/./sh".into()));
        assert_eq!(inside("/etc/passwd"), None);
        assert_eq!(inside("sh"), None);
    }
}
