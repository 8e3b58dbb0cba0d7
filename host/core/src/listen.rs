use std::path::PathBuf;
use std::str::FromStr;

/// A place to listen at, as in `AGENTD_LISTEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `tcp`: the address and port that are set.
    Tcp,
    /// `unix`: a socket in the user's runtime directory, or else in the state directory.
    Unix,
    /// `unix:PATH`: a socket of that path.
    UnixAt(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "tcp" => Ok(Listen::Tcp),
            None if text == "unix" => Ok(Listen::Unix),
            Some(("unix", path)) if path.starts_with('/') => Ok(Listen::UnixAt(path.into())),
            _ => Err("a place is `tcp`, `unix`, or `unix:` and an absolute path".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!("tcp".parse(), Ok(Listen::Tcp));
        assert_eq!("unix".parse(), Ok(Listen::Unix));
        assert_eq!("unix:/a:b".parse(), Ok(Listen::UnixAt("/a:b".into())));
        for text in ["", "unix:", "unix:a", "tcp:", "/a", "UNIX"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
