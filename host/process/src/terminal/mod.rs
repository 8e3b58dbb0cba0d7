//! Programs on terminals.

mod before_exec;
mod cgroup;
mod child;
mod input;
mod spawner;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::environment::{self, INSTANCE_MARKER, SESSION_MARKER};
use crate::process_tree::ProcessTree;
use crate::{Error, Limits, threads};

pub use child::{Child, set_size};
pub use input::Input;
pub use spawner::Spawner;

/// What an earlier daemon left behind has so long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone)]
pub struct Program {
    /// The mark of its processes, `AGENTD_SESSION`.
    pub session: String,
    /// The mark of what a dead daemon leaves behind, `AGENTD_INSTANCE`.
    pub instance: String,
    /// Names it in the log.
    pub title: String,
    /// The program and its arguments, never empty.
    pub command: Vec<String>,
    /// Whether the daemon's own variables are passed on; see
    /// [`environment::inherited`](crate::environment::inherited).
    pub inherits: bool,
    /// Its own variables.
    pub env: BTreeMap<String, String>,
    /// Where it begins.
    pub directory: PathBuf,
    /// The size of its terminal.
    pub size: Size,
    /// For all of its processes together.
    pub limits: Limits,
}

/// Without variables, which may be secrets: this gets into panics and logs.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("session", &self.session)
            .field("title", &self.title)
            .field("directory", &self.directory)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// With its whole environment.
    pub fn launch(&self) -> Launch {
        let mut all = match self.inherits {
            true => environment::inherited(),
            false => BTreeMap::default(),
        };
        all.insert("TERM".into(), "xterm-256color".into());
        all.insert("COLORTERM".into(), "truecolor".into());
        all.insert("PWD".into(), self.directory.clone().into());
        // The program's own variables win over ours, except for the markers.
        let own = self.env.iter();
        all.extend(own.map(|(name, value)| (name.into(), value.into())));
        all.insert(SESSION_MARKER.into(), self.session.clone().into());
        all.insert(INSTANCE_MARKER.into(), self.instance.clone().into());
        Launch {
            command: self.command.clone(),
            environment: all,
            directory: self.directory.clone(),
            size: self.size,
            limits: self.limits,
        }
    }
}

/// What is executed, and all that the program gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments, never empty.
    pub command: Vec<String>,
    /// Every variable.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where it begins.
    pub directory: PathBuf,
    /// The size of its terminal.
    pub size: Size,
    /// For all of its processes together; the marks among the variables name their cgroup.
    pub limits: Limits,
}

/// Without variables, which may be secrets: this gets into panics and logs.
impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("directory", &self.directory)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// Whether more output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// At once.
    More,
    /// After [`Sink::ready`].
    Wait,
    /// Never.
    Closed,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows, for this reason.
    Unknown(String),
}

/// Where a program's output and its end go. Called by one thread at a time, and must not block.
/// It is dropped when nothing of the program is left.
pub trait Sink: Send + Sync + 'static {
    /// The program runs.
    fn running(&self, pid: u32);
    /// Takes output.
    fn output(&self, bytes: &[u8]) -> Flow;
    /// Done once output is wanted again.
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// The program has ended, and all of its output has been handed over.
    fn ended(&self, how: Ended);
    /// Done once that is noted for good. A keeper has the program until then.
    fn noted(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// Whoever reaps this process's children.
pub trait Reaper: Send + Sync + 'static {
    /// Reaps nothing until [`release`](Reaper::release): a child is about to be started.
    fn hold(&self);
    /// The child was started, or not. This one is waited for here.
    fn release(&self, child: Option<u32>);
}

/// Ends what an earlier daemon of this instance has left behind: its terminals died with it, and a
/// program that ignores SIGHUP runs on. To be called before anything is started; what cannot be
/// ended is logged. What descends from `keepers` is left alone.
pub async fn end_leftovers(instance: &str, keepers: &[u32]) {
    let tree = ProcessTree::of_instance(instance).but_of(keepers);
    let end = async {
        let count = tree.count().await?;
        if count > 0 {
            tracing::warn!("ending {count} processes that an earlier run left behind");
            tree.end(LEFTOVER_GRACE).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = end.await {
        tracing::warn!(%error, "what an earlier run left behind");
    }
    let instance = instance.to_owned();
    // No thread for it: the next start tries again.
    let _ = threads::blocking(move || cgroup::remove_leftovers(&instance)).await;
}
