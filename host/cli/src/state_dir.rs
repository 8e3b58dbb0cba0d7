use std::env;
use std::path::PathBuf;

/// Where the services keep their state, unless there is no home directory either.
pub(crate) fn state_dir() -> Option<PathBuf> {
    named_state_dir().or_else(|| {
        let state_home = absolute("XDG_STATE_HOME")
            .or_else(|| env::home_dir().map(|home| home.join(".local/state")))?;
        Some(state_home.join("agentd"))
    })
}

/// The one that the environment names.
pub(crate) fn named_state_dir() -> Option<PathBuf> {
    absolute("AGENTD_STATE_DIR")
}

/// The path in a variable. Relative values are to be ignored, says the XDG base directory specification.
pub(crate) fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
