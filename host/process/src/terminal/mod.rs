//! Programs on terminals.

mod before_exec;
mod child;
mod input;
mod output;
mod running;
mod spawner;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::environment::{self, INSTANCE_MARKER, SESSION_MARKER};
use crate::process_tree::ProcessTree;
use crate::threads::Threads;
use crate::{Error, Result};

pub use child::{Child, set_size};
pub use input::Input;
pub use running::Running;
pub use spawner::Spawner;

/// What an earlier daemon left behind has so long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
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
        }
    }
}

/// What is executed, and all that the program gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments, never empty.
    pub command: Vec<String>,
    /// Every variable.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where it begins.
    pub directory: PathBuf,
    /// The size of its terminal.
    pub size: Size,
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

/// Runs programs on terminals, in threads of its own.
pub struct Terminals {
    /// One thread serves all terminals, but for those that are flooded; see `output`.
    threads: Threads,
    floods: Arc<Threads>,
    spawner: Spawner,
    reaper: Arc<dyn Reaper>,
}

impl Terminals {
    /// Starts the threads.
    pub fn start(reaper: Arc<dyn Reaper>) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .thread_name("agentd-terminal")
            .enable_all();
        Ok(Terminals {
            threads: Threads::start(&mut builder)?,
            floods: Arc::new(Threads::for_floods("agentd-flood", usize::MAX)?),
            spawner: Spawner::default(),
            reaper,
        })
    }

    /// Starts a program. It runs when this returns: the kernel has executed it. When the caller goes
    /// away meanwhile, everything that runs by then is ended, and only after that is `sink`
    /// dropped.
    ///
    /// May be polled anywhere, also outside of any runtime.
    pub async fn run(&self, program: Program, sink: Arc<dyn Sink>) -> Result<Running> {
        let mut spawned = Spawned {
            runtime: self.runtime().clone(),
            session: program.session.clone(),
            title: program.title.clone(),
            sink,
            child: None,
        };
        let reaper = self.reaper.clone();
        let spawn = self.spawner.run(move || {
            spawned.child = Some(Child::spawn(&*reaper, &program.launch())?);
            Ok::<_, Error>(spawned)
        });
        let (child, session, sink) = spawn.await??.take()?;
        sink.running(child.pid());
        Running::supervise(child, &session, sink, self.runtime(), self.floods.clone())
    }

    fn runtime(&self) -> &Handle {
        self.threads.handle()
    }
}

/// What was started. Ended with everything that it has started itself unless somebody takes it.
struct Spawned {
    runtime: Handle,
    session: String,
    title: String,
    sink: Arc<dyn Sink>,
    child: Option<Child>,
}

impl Spawned {
    fn take(mut self) -> Result<(Child, String, Arc<dyn Sink>)> {
        let child = self.child.take();
        let child = child.ok_or_else(|| Error::internal("nothing was started"))?;
        Ok((child, self.session.clone(), self.sink.clone()))
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        // Before it is reaped: what it has started descends from it.
        let tree = ProcessTree::new(&self.session, child.pid());
        let (title, sink) = (std::mem::take(&mut self.title), self.sink.clone());
        self.runtime.spawn(async move {
            if let Err(error) = tree.end(Duration::ZERO).await {
                tracing::warn!(title, %error, "undoing a start that was given up");
            }
            drop(child);
            drop(sink);
        });
    }
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
}

#[cfg(test)]
mod tests;
