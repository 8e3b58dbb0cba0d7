use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentd_plugin_api::host::{Call, HostServices, RunningProgram};
use agentd_plugin_api::{Program, SessionEvents};
use tracing::Level;

use crate::children::Children;
use crate::terminals::Terminals;
use crate::text::{line, quoted};

/// Lines of a library's log in a second, at most; nobody reads more, and they fill a disk.
const MOST_LINES: u32 = 1000;

/// What the daemon offers to its backend.
#[derive(Debug, Default)]
pub struct Services {
    terminals: Arc<Terminals>,
    lines: Mutex<Lines>,
}

/// The lines of this second.
#[derive(Debug, Default)]
struct Lines {
    since: Option<Instant>,
    count: u32,
}

impl Lines {
    /// Counts one more.
    fn count(&mut self) -> u32 {
        let is_of_this = |since: Instant| since.elapsed() < Duration::from_secs(1);
        if !self.since.is_some_and(is_of_this) {
            (self.since, self.count) = (Some(Instant::now()), 0);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

/// `tracing` wants level and target at compile time, so a backend's own target becomes a field.
macro_rules! at_level {
    ($level:expr, $macro:ident, $($arguments:tt)*) => {
        match $level {
            1 => tracing::$macro!(target: "backend", Level::ERROR, $($arguments)*),
            2 => tracing::$macro!(target: "backend", Level::WARN, $($arguments)*),
            3 => tracing::$macro!(target: "backend", Level::INFO, $($arguments)*),
            4 => tracing::$macro!(target: "backend", Level::DEBUG, $($arguments)*),
            _ => tracing::$macro!(target: "backend", Level::TRACE, $($arguments)*),
        }
    };
}

impl Services {
    /// Offers them. From here on this process is the parent of its agents' orphans and reaps
    /// them, for as long as the runtime lives.
    pub fn start() -> std::io::Result<Services> {
        Children::get().adopt_orphans()?;
        Ok(Services::default())
    }

    /// The same where programs on terminals outlive this process, in keepers that have their sockets in
    /// `directory`. The program has to be one that calls [`entered`](crate::entered) first.
    pub fn with_keepers(directory: PathBuf) -> std::io::Result<Services> {
        Children::get().adopt_orphans()?;
        let terminals = Terminals::outliving(directory);
        // As while a service serves.
        terminals.end_abandoned(true);
        Ok(Services::on(terminals))
    }

    /// The services of a daemon whose programs run on these terminals.
    pub(crate) fn on(terminals: Terminals) -> Services {
        Services {
            terminals: Arc::new(terminals),
            lines: Mutex::default(),
        }
    }

    /// Where programs run for backends.
    pub(crate) fn terminals(&self) -> &Arc<Terminals> {
        &self.terminals
    }

    /// Whether somebody in this process waits for this child.
    pub fn is_claimed(pid: i32) -> bool {
        Children::get().is_claimed(pid)
    }
}

impl HostServices for Services {
    fn enabled(&self, level: u8, _target: &str) -> bool {
        at_level!(level, enabled,)
    }

    fn log(&self, level: u8, target: &str, message: &str) {
        let count = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count();
        if count == MOST_LINES {
            tracing::warn!(
                "the backend's log is left out for the rest of this second: {count} lines"
            );
        }
        if count >= MOST_LINES {
            return;
        }
        at_level!(level, event, from = quoted(target), "{}", line(message));
    }

    fn hold_reaping(&self) {
        Children::get().hold();
    }

    fn release_reaping(&self, owned: Option<u32>) {
        Children::get().release(owned);
    }

    fn run_on_terminal(&self, program: Program, events: SessionEvents) -> Call<RunningProgram> {
        self.terminals.clone().run(program, events)
    }

    fn resume_on_terminal(&self, session: String, events: SessionEvents) -> Call<RunningProgram> {
        self.terminals.clone().resume(session, events)
    }
}
