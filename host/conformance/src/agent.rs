use std::sync::Arc;

use agentd_host::session::Session;

use crate::line::Line;

/// A script that runs as an agent.
pub(crate) struct Agent {
    pub session: Arc<Session>,
    pub line: Line,
}

/// Defines `await FILE` for a script.
pub(crate) const AWAIT: &str = r#"
await() { until [ -e "./$1" ]; do sleep 0.1 2>/dev/null || sleep 1; done; }
"#;

/// How often [`BRANCHES`] says `up`.
pub(crate) const UPS: usize = 5;

/// Starts children that run until they are ended: an ordinary one, one that left the session
/// (where there is a `setsid`), and orphans of both kinds. Each says `up`, and so does the script, once those are orphans indeed.
pub(crate) const BRANCHES: &str = r#"
away() { if command -v setsid >/dev/null 2>&1; then exec setsid "$@"; else exec "$@"; fi; }
branch='echo up >&3; while :; do sleep 1; done'
sh -c "$branch" &
away sh -c "$branch" &
( sh -c "$branch" & )
( away sh -c "$branch" & )
echo up >&3
"#;
