use std::env;
use std::path::PathBuf;

/// Where the services keep their state, unless there is no home directory either.
pub(crate) fn state_dir() -> Option<PathBuf> {
    absolute("AGENTD_STATE_DIR").or_else(|| {
        let state_home = absolute("XDG_STATE_HOME")
            .or_else(|| env::home_dir().map(|home| home.join(".local/state")))?;
        Some(state_home.join("agentd"))
    })
}

/// Relative values are to be ignored, says the XDG base directory specification.
fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
