//! The environment of an agent, made out of the one that tmux would give.
//!
//! A process in a tmux pane gets the server's global environment with the session's on top; tmux
//! itself then sets [`OF_TMUX`], `SHELL` from an option and `PATH` from the client. What the agent
//! should have is the daemon's environment with its own variables on top, so the differences are
//! put into the session's environment while the agent is started and taken out again afterwards.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use agentd_plugin_api::environment::{SESSION_MARKER, for_agent};
use agentd_plugin_api::{Error, Result};

/// What tmux sets itself, as it suits the terminal that it is.
const OF_TMUX: [&str; 6] = [
    "PWD",
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TMUX",
    "TMUX_PANE",
];

pub type Variables = BTreeMap<OsString, OsString>;

/// What an agent should have.
#[derive(Debug)]
pub struct Environment {
    variables: Variables,
    /// Of [`OF_TMUX`], what the request insists on.
    pub insisted: Variables,
    /// Comes from the client that starts the agent.
    pub path: Option<OsString>,
    /// Comes from the session's option `default-shell`.
    pub shell: Option<OsString>,
}

/// What to change in tmux's environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub set: Variables,
    pub remove: Vec<OsString>,
}

impl Environment {
    /// The environment of the session `id`, whose request gave `env`.
    pub fn new(id: &str, env: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(name) = env
            .iter()
            .find(|(name, value)| {
                name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
            })
            .map(|(name, _)| name)
        {
            return Err(
                Error::refused(format!("the variable `{name}` cannot be set")).hint(
                    "a name is not empty and has no `=`; neither name nor value has a zero byte",
                ),
            );
        }
        let mut variables = for_agent(env);
        let mut insisted = Variables::new();
        for name in OF_TMUX {
            if let Some((name, value)) = variables.remove_entry(OsStr::new(name))
                && env.keys().any(|own| name == own.as_str())
            {
                insisted.insert(name, value);
            }
        }
        variables.insert(SESSION_MARKER.into(), id.into());
        Ok(Environment {
            path: variables.remove(OsStr::new("PATH")),
            shell: variables.remove(OsStr::new("SHELL")),
            variables,
            insisted,
        })
    }

    /// What has to change where tmux would give `base`.
    pub fn difference(&self, base: &Variables) -> Difference {
        let set = self
            .variables
            .iter()
            .filter(|(name, value)| base.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let kept = |name: &OsStr| {
            name == "PATH" || name == "SHELL" || OF_TMUX.iter().any(|other| name == *other)
        };
        let remove = base
            .keys()
            .filter(|name| !self.variables.contains_key(*name) && !kept(name))
            .cloned()
            .collect();
        Difference { set, remove }
    }
}

/// Reads what `show-environment -s` prints, several outputs in a row as one on top of the other:
/// `NAME="value"; export NAME;` with a backslash before `$`, `` ` ``, `"` and `\` in the value, or
/// `unset NAME;`, each with a line end.
pub fn parse(mut printed: &[u8]) -> Option<Variables> {
    let mut variables = Variables::new();
    while !printed.is_empty() {
        if let Some(rest) = printed.strip_prefix(b"unset ") {
            let end = find(rest, b";\n")?;
            variables.remove(&OsString::from_vec(rest[..end].to_vec()));
            printed = &rest[end + 2..];
            continue;
        }
        let end = find(printed, b"=\"")?;
        let name = &printed[..end];
        let mut value = Vec::new();
        let mut bytes = printed[end + 2..].iter();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => value.push(*bytes.next()?),
                byte => value.push(*byte),
            }
        }
        let tail = [b"; export ", name, b";\n"].concat();
        printed = bytes.as_slice().strip_prefix(tail.as_slice())?;
        variables.insert(OsString::from_vec(name.to_vec()), OsString::from_vec(value));
    }
    Some(variables)
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len())
        .position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<const N: usize>(all: [(&str, &str); N]) -> Variables {
        all.map(|(name, value)| (name.into(), value.into())).into()
    }

    #[test]
    fn printed_variables_are_read() {
        let printed = b"A=\"1\"; export A;\nB=\"x\\\"; export B;\n\\$\\\\\"; export B;\n\
            a.b=\"\"; export a.b;\nunset A;\nC=\"\"; export C;\n";
        assert_eq!(
            parse(printed),
            Some(variables([
                ("B", "x\"; export B;\n$\\"),
                ("a.b", ""),
                ("C", "")
            ]))
        );
        assert_eq!(parse(b"A=\"1"), None);
        assert_eq!(parse(b""), Some(Variables::new()));
    }

    #[test]
    fn only_differences_are_changed() {
        let mut environment = Environment::new("id", &BTreeMap::new()).unwrap();
        environment.variables = variables([("SAME", "1"), ("OTHER", "2"), ("NEW", "3")]);
        let base = variables([("SAME", "1"), ("OTHER", "1"), ("OLD", "4"), ("TERM", "x")]);
        assert_eq!(
            environment.difference(&base),
            Difference {
                set: variables([("OTHER", "2"), ("NEW", "3")]),
                remove: vec!["OLD".into()]
            }
        );
    }

    #[test]
    fn a_request_may_insist_on_a_terminal() {
        let env = BTreeMap::from([("TERM".to_owned(), "vt100".to_owned())]);
        let environment = Environment::new("id", &env).unwrap();
        assert_eq!(environment.insisted, variables([("TERM", "vt100")]));
        let environment = Environment::new("id", &BTreeMap::new()).unwrap();
        assert_eq!(environment.insisted, Variables::new());
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in ["", "A=B", "A\0"] {
            let env = BTreeMap::from([(name.to_owned(), String::new())]);
            assert!(Environment::new("id", &env).is_err(), "{name:?}");
        }
    }
}
