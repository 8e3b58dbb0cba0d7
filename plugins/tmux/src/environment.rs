//! The environment of an agent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use agentd_plugin_api::environment::{INSTANCE_MARKER, SESSION_MARKER, for_agent};
use agentd_plugin_api::{Error, Result};

use crate::leftovers::mark;

/// What tmux sets itself, as it suits the terminal that it is.
const OF_TMUX: [&str; 6] = [
    "PWD",
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TMUX",
    "TMUX_PANE",
];

/// What a program in a pane should have.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// Of [`OF_TMUX`], only what the request insists on.
    pub variables: BTreeMap<OsString, OsString>,
}

/// By name alone, as the values may be secrets: this gets into panics and logs.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// The environment of the session `id` of an `instance`, whose request gave `env`.
    pub fn new(instance: &str, id: &str, env: &BTreeMap<String, String>) -> Result<Self> {
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
        for name in OF_TMUX.iter().filter(|name| !env.contains_key(**name)) {
            variables.remove(OsStr::new(name));
        }
        variables.insert(INSTANCE_MARKER.into(), mark(instance).into());
        let environment = Environment { variables };
        Ok(environment.marked(id))
    }

    /// The same, with another mark of what a process belongs to.
    #[must_use]
    pub fn marked(mut self, id: &str) -> Self {
        self.variables.insert(SESSION_MARKER.into(), id.into());
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// The names of those variables that are as tmux sets them.
    pub fn of_tmux(&self) -> impl Iterator<Item = &'static str> {
        let all = OF_TMUX.into_iter().chain(["SHELL"]);
        all.filter(|name| self.get(name).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_set_term() {
        let env = BTreeMap::from([("TERM".to_owned(), "vt100".to_owned())]);
        let environment = Environment::new("instance", "id", &env).unwrap();
        assert_eq!(environment.get("TERM"), Some(OsStr::new("vt100")));
        assert!(environment.of_tmux().all(|name| name != "TERM"));
        let environment = Environment::new("instance", "id", &BTreeMap::new()).unwrap();
        assert_eq!(environment.get("TERM"), None);
        assert!(environment.of_tmux().any(|name| name == "TERM"));
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in ["", "A=B", "A\0"] {
            let env = BTreeMap::from([(name.to_owned(), String::new())]);
            assert!(
                Environment::new("instance", "id", &env).is_err(),
                "{name:?}"
            );
        }
    }
}
