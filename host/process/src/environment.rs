//! The environment of an agent, the same for every backend.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The variable that marks every process of an agent; its value is the id of the
/// session.
pub const SESSION_MARKER: &str = "AGENTD_SESSION";

/// The variable by which the processes that a dead daemon left behind are found; its value is
/// the daemon's instance. For agents that cannot be adopted; see
/// [`ProcessTree::of_instance`](crate::process_tree::ProcessTree::of_instance).
pub const INSTANCE_MARKER: &str = "AGENTD_INSTANCE";

/// The only variables of the daemon that go into a container, where they are set.
pub const API_VARIABLES: [&str; 5] = [
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OPENAI_BASE_URL",
];

const MACHINE_VARIABLES: [&str; 8] = [
    "PATH", "HOME", "SHELL", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ",
];

/// The daemon's environment without what is the daemon's own: `AGENTD_*`, `TMUX*`,
/// `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` and `LISTEN_*`.
pub fn inherited() -> BTreeMap<OsString, OsString> {
    std::env::vars_os()
        .filter(|(name, _)| !is_private(name))
        .collect()
}

/// [`inherited`], with the agent's own variables on top.
pub fn for_agent(env: &BTreeMap<String, String>) -> BTreeMap<OsString, OsString> {
    let mut all = inherited();
    all.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
    all
}

/// Those of [`API_VARIABLES`] that are set, with the agent's own variables on top.
pub fn for_container(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    with(&API_VARIABLES, env)
}

/// The same for an agent behind a wall of another kind, which also has this machine's programs and
/// language, and its user's name.
pub fn for_sandbox(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    with(&[&MACHINE_VARIABLES[..], &API_VARIABLES].concat(), env)
}

fn with(names: &[&str], env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let named = names.iter().map(|name| (*name).to_owned());
    let mut all: BTreeMap<String, String> = named
        .filter_map(|name| std::env::var(&name).ok().map(|value| (name, value)))
        .collect();
    all.extend(env.clone());
    all
}

fn is_private(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    matches!(name, b"NOTIFY_SOCKET" | b"WATCHDOG_USEC" | b"WATCHDOG_PID")
        || [&b"AGENTD_"[..], b"TMUX", b"LISTEN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_variables_are_private() {
        for name in [
            "AGENTD_TOKEN",
            "TMUX",
            "TMUX_PANE",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "LISTEN_FDS",
        ] {
            assert!(is_private(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "NOTIFY_SOCKETS", "WATCHDOG", "MY_AGENTD_TOKEN"] {
            assert!(!is_private(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_agents_own_variables_win() {
        let env = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
        assert_eq!(
            for_agent(&env)[OsStr::new("PATH")],
            OsString::from("/nowhere")
        );
    }
}
