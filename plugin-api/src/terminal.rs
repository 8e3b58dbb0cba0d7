//! Programs on terminals of the daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::RunningProgram;
use crate::{Limits, Result, Session, SessionSpec, Size};

/// What to run on a terminal of the daemon; see [`Host::run`](crate::Host::run). Crosses the boundary
/// as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Program {
    /// [`SessionSpec::id`] of the session.
    pub session: String,
    /// The program and its arguments, which every user of the machine can read.
    pub command: Vec<String>,
    /// Its own variables, which win over those below.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether it gets the daemon's variables too; see
    /// [`environment::inherited`](crate::environment::inherited). Else `PATH` is to be among its own.
    #[serde(default)]
    pub inherits: bool,
    /// Where it begins.
    pub working_dir: PathBuf,
    /// The size of its terminal.
    pub size: Size,
    /// Whether it stands in for the agent, as `bwrap`, `ssh` and `docker exec` do, and passes on how that
    /// ended: like a shell, which makes the exit code 128 + n of a death by the signal n.
    #[serde(default)]
    pub stands_in: bool,
    /// For all of its processes together. What the daemon cannot limit is [`Error::refused`].
    ///
    /// Since 1.2; declare it with [`Manifest::with_limits`](crate::Manifest::with_limits), as an older
    /// daemon would ignore it.
    ///
    /// [`Error::refused`]: crate::Error::refused
    #[serde(default)]
    pub limits: Limits,
    /// Names it in the daemon's log.
    #[serde(default)]
    pub title: String,
    /// [`Config::instance`](crate::Config::instance). The daemon sets it.
    #[serde(skip)]
    pub instance: String,
    /// [`SessionSpec::label`]. The daemon sets it.
    #[serde(skip)]
    pub label: String,
}

/// Without variables, which may be secrets: this gets into panics and logs.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("session", &self.session)
            .field("title", &self.title)
            .field("working_dir", &self.working_dir)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// The agent as it was asked for, in the environment that agents of this machine have. Change what
    /// is different.
    pub fn of(spec: &SessionSpec) -> Self {
        Program {
            session: spec.id.clone(),
            command: spec.command.clone(),
            env: spec.env.clone(),
            inherits: true,
            working_dir: spec.working_dir.clone(),
            size: spec.size,
            stands_in: false,
            limits: Limits::default(),
            title: spec.name.clone(),
            instance: String::new(),
            label: String::new(),
        }
    }
}

/// A program on a terminal of the daemon, which does all that there is to do with it: keys and sizes
/// do not pass through the library. Dropping this ends the program.
pub struct Terminal {
    running: RunningProgram,
}

impl Terminal {
    pub(crate) fn new(running: RunningProgram) -> Self {
        Terminal { running }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.running.abandon();
    }
}

impl Session for Terminal {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        self.running.write(input).await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        self.running.resize(size).await
    }

    async fn terminate(&self, grace: Duration) -> Result<()> {
        self.running.terminate(grace).await
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}
