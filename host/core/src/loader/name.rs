use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use super::LoadError;

/// The backends that come with agentd, in the order in which they are offered. The host knows
/// nothing else of them.
pub const BUNDLED: [&str; 3] = ["tmux", "docker", "pty"];

/// The rule for names, as it is shown to users.
pub const NAME_RULE: &str = "[a-z][a-z0-9_]{0,31}";

const PREFIX: &str = "libagentd_backend_";
pub(super) const SUFFIX: &str = if cfg!(target_os = "macos") {
    ".dylib"
} else {
    ".so"
};

/// The name of a backend: [`NAME_RULE`], so that it is safe as a part of a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendName(String);

impl BackendName {
    /// Takes a value of `AGENTD_BACKEND`, exact and case-sensitive.
    pub fn parse(value: &OsStr) -> Result<Self, LoadError> {
        value
            .to_str()
            .filter(|name| is_name(name))
            .map(|name| BackendName(name.to_owned()))
            .ok_or_else(|| LoadError::unknown_name(value))
    }

    /// The name in `libagentd_backend_<name>.so`.
    pub(super) fn of_file(file: &Path) -> Option<Self> {
        file.file_name()?
            .to_str()?
            .strip_prefix(PREFIX)?
            .strip_suffix(SUFFIX)
            .filter(|name| is_name(name))
            .map(|name| BackendName(name.to_owned()))
    }

    /// The file that holds the backend: `libagentd_backend_<name>.so`, on macOS `.dylib`.
    pub fn library_file(&self) -> String {
        format!("{PREFIX}{self}{SUFFIX}")
    }

    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether agentd brings this backend itself.
    pub fn is_bundled(&self) -> bool {
        BUNDLED.contains(&self.as_str())
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_well_formed(value: &OsStr) -> bool {
    value.to_str().is_some_and(is_name)
}

fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_decides_what_is_a_name() {
        let longest = "a".repeat(32);
        for name in ["tmux", "a", "my_backend2", &longest] {
            let parsed = BackendName::parse(OsStr::new(name)).unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(
                BackendName::of_file(Path::new(&parsed.library_file())),
                Some(parsed)
            );
        }
        let too_long = "a".repeat(33);
        for name in [
            "", "../x", "PTY", "a/b", "1a", "_a", "a-b", "a b", "ä", " pty", "pty\n", "a\0",
            &too_long,
        ] {
            assert!(BackendName::parse(OsStr::new(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_a_backends_file_has_a_backends_name() {
        for file in [
            "libagentd_backend_.so",
            "libagentd_backend_PTY.so",
            "libagentd_backend_pty.so.1",
            "agentd_backend_pty.so",
            "libc.so",
            "/",
        ] {
            assert_eq!(BackendName::of_file(Path::new(file)), None, "{file}");
        }
    }
}
