use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{RwLock, watch as state};

use super::child::{Child, set_size};
use super::input::Input;
use super::output::Output;
use super::{Ended, Sink, Size};
use crate::descriptor::watch;
use crate::process_tree::ProcessTree;
use crate::threads::Threads;
use crate::{Error, Result};

/// What the program leaves behind has so long to end by itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// A program on a PTY, with three tasks: one reads, one writes, one handles the program's end. Its methods may
/// be called and polled anywhere, also outside of any runtime. It runs on when this is dropped.
pub struct Running {
    runtime: Handle,
    /// Owned by the tasks, so that an ended program has no descriptor open.
    terminal: Weak<Terminal>,
    tree: ProcessTree,
    /// Read while the tree is ended by the number of its first process; true when that is reaped.
    reaped: Arc<RwLock<bool>>,
    /// True once the end has been reported.
    ended: state::Receiver<bool>,
}

struct Terminal {
    master: Arc<AsyncFd<OwnedFd>>,
    input: Input,
}

impl Running {
    /// Takes over a child that has just been started.
    pub(super) fn supervise(
        mut child: Child,
        session: &str,
        sink: Arc<dyn Sink>,
        runtime: &Handle,
        floods: Arc<Threads>,
    ) -> Result<Running> {
        let tree = ProcessTree::new(session, child.pid());
        let entered = runtime.enter();
        let master = child.take_master();
        let master = master.ok_or_else(|| Error::internal("the terminal is already in use"))?;
        let terminal = Arc::new(Terminal {
            master: Arc::new(watch(master, Interest::READABLE | Interest::WRITABLE)?),
            input: Input::default(),
        });
        // SAFETY: the child's descriptor is its own until it is dropped, and never replaced.
        let child = unsafe { AsyncFd::register_with_interest(child, Interest::READABLE) };
        let child = child.map_err(io::Error::from)?;
        drop(entered);
        let reaped = Arc::new(RwLock::new(false));
        let (report_end, ended) = state::channel(false);

        let running = Running {
            runtime: runtime.clone(),
            terminal: Arc::downgrade(&terminal),
            tree: tree.clone(),
            reaped: reaped.clone(),
            ended,
        };
        // One task begins the others on their own thread: each that is begun from elsewhere wakes it.
        runtime.spawn(async move {
            let output = Output::read(terminal.master.clone(), sink.clone(), floods);
            let input = tokio::spawn({
                let terminal = terminal.clone();
                async move {
                    if let Err(error) = terminal.input.drain(&terminal.master).await {
                        tracing::debug!(%error, "no more input");
                    }
                    terminal.input.close();
                }
            });
            let how = match child.readable().await {
                Ok(_) => child.get_ref().status(),
                Err(error) => Ended::Unknown(format!("waiting for the process: {error}")),
            };
            tree.end_rest(ORPHAN_GRACE).await;
            // A question of the program's that nobody answers any more holds nothing up.
            terminal.input.close();
            input.abort();
            output.drained().await;
            // Nothing of it is left when its end is known.
            let _ = input.await;
            drop(terminal);
            let mut reaped = reaped.write().await;
            drop(child);
            *reaped = true;
            drop(reaped);
            sink.ended(how);
            drop(sink);
            report_end.send_replace(true);
        });
        Ok(running)
    }

    /// Types `input`, whole and in order. Pending until there is room for it.
    pub async fn write(&self, input: Vec<u8>) -> Result<()> {
        let terminal = self.terminal()?;
        terminal.input.push(&terminal.master, input).await
    }

    /// Changes the size of the terminal; the kernel notifies the program.
    pub fn resize(&self, size: Size) -> Result<()> {
        Ok(set_size(self.terminal()?.master.as_fd(), size)?)
    }

    /// Ends the program with everything that it has started: politely first, by force when `grace`
    /// is over. Done when the end has been reported; it goes on also when nobody waits any more.
    pub async fn end(&self, grace: Duration) -> Result<()> {
        let mut ended = self.ended.clone();
        if *ended.borrow() {
            return Ok(());
        }
        let (tree, reaped) = (self.tree.clone(), self.reaped.clone());
        let end = self.runtime.spawn(async move {
            let reaped = reaped.read().await;
            match *reaped {
                true => Ok(()),
                false => tree.end(grace).await,
            }
        });
        let unreported = || Error::internal("the program's end was not reported");
        end.await.map_err(|_| unreported())??;
        let reported = ended.wait_for(|ended| *ended).await;
        reported.map(drop).map_err(|_| unreported())
    }

    /// Begins to end it at once, if it still runs, and does not wait for that.
    pub fn abandon(self: &Arc<Self>) {
        if !*self.ended.borrow() {
            let this = self.clone();
            self.runtime.spawn(async move {
                if let Err(error) = this.end(Duration::ZERO).await {
                    tracing::warn!(%error, "ending a program that nobody has any more");
                }
            });
        }
    }

    fn terminal(&self) -> Result<Arc<Terminal>> {
        let gone = || Error::gone("the program has ended");
        self.terminal.upgrade().ok_or_else(gone)
    }
}
