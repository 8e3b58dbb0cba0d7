use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for thousands of agents, of which each has a terminal and a process to watch.
const WANTED: u64 = 65_536;

/// Raises the number of files that this process may have open, as far as it may. Usual is 1024,
/// which some 300 agents use up.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_some_and(|current| current < wanted) {
        let limit = Rlimit {
            current: Some(wanted),
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the number of open files stays limited to {current:?}");
        }
    }
}
