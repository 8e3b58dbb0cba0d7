//! What a launcher is asked to run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::environment::Environment;

/// A program with all that it gets; nothing in it has a zero byte.
#[derive(Debug)]
pub struct ExecRequest {
    /// The file, from the pane's directory.
    pub program: PathBuf,
    /// From its own name on.
    pub arguments: Vec<OsString>,
    pub environment: Environment,
}

impl ExecRequest {
    /// After the key: the program, the number of arguments, these, the variables, and an empty
    /// word; each ends with a zero byte. A variable without a value is the launcher's own.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut request = key.to_vec();
        let mut word = |parts: &[&OsStr]| {
            request.extend(parts.iter().flat_map(|part| part.as_bytes()));
            request.push(0);
        };
        word(&[self.program.as_os_str()]);
        word(&[OsStr::new(&self.arguments.len().to_string())]);
        for argument in &self.arguments {
            word(&[argument]);
        }
        for (name, value) in &self.environment.variables {
            word(&[name, OsStr::new("="), value]);
        }
        for name in self.environment.of_tmux() {
            word(&[OsStr::new(name)]);
        }
        word(&[]);
        request
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::launcher;

    fn request(arguments: &[&str]) -> ExecRequest {
        let env = BTreeMap::from([("A".to_owned(), "1=2\n".to_owned())]);
        ExecRequest {
            program: "/bin/x".into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: Environment::new("instance", "id", &env).unwrap(),
        }
    }

    #[test]
    fn the_launcher_reads_what_is_encoded() {
        let request = request(&["x", "", "two words\n"]);
        let command = launcher::read(&request.encode(b"")).unwrap();
        assert_eq!(command.get_program(), "/bin/x");
        assert!(command.get_args().eq(["", "two words\n"]));
        let found: Vec<_> = command.get_envs().collect();
        for (name, value) in &request.environment.variables {
            let variable = (name.as_os_str(), Some(value.as_os_str()));
            assert!(found.contains(&variable), "{variable:?}");
        }
    }

    #[test]
    fn a_truncated_request_is_refused() {
        let whole = request(&["x", ""]).encode(b"");
        for end in 0..whole.len() {
            assert!(launcher::read(&whole[..end]).is_none(), "{end}");
        }
    }
}
