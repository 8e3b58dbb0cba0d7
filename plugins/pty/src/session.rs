use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentd_plugin_api::descriptor::watch;
use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::threads::Threads;
use agentd_plugin_api::{Error, Result, Session, SessionEvents, Size};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{RwLock, watch as state};

use crate::child::{Child, set_size};
use crate::input::Input;
use crate::output::Output;

/// What the program leaves behind has so long to end by itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// A program on a PTY, with three tasks: one reads, one writes, one sees to the end.
pub struct PtySession {
    /// Owned by the tasks, so that an ended session has no descriptor open.
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

impl PtySession {
    /// Takes over a child that has just been started.
    pub fn supervise(
        mut child: Child,
        id: &str,
        events: SessionEvents,
        floods: Arc<Threads>,
    ) -> Result<PtySession> {
        let master = child.take_master();
        let master = master.ok_or_else(|| Error::internal("the terminal is already in use"))?;
        let terminal = Arc::new(Terminal {
            master: Arc::new(watch(master, Interest::READABLE | Interest::WRITABLE)?),
            input: Input::new(),
        });
        let tree = ProcessTree::new(id, child.pid());
        let reaped = Arc::new(RwLock::new(false));
        let (report_end, ended) = state::channel(false);

        let session = PtySession {
            terminal: Arc::downgrade(&terminal),
            tree: tree.clone(),
            reaped: reaped.clone(),
            ended,
        };
        // One task begins the others on their own thread: each that is begun from elsewhere wakes it.
        tokio::spawn(async move {
            let output = Output::read(terminal.master.clone(), events.clone(), floods);
            let input = tokio::spawn({
                let terminal = terminal.clone();
                async move {
                    if let Err(error) = terminal.input.drain(&terminal.master).await {
                        tracing::debug!(%error, "no more input");
                    }
                    terminal.input.close();
                }
            });
            let status = child.ended().await;
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
            match status {
                Ok(status) => events.exited(status),
                Err(error) => events.lost(format!("waiting for the process: {error}")),
            }
            report_end.send_replace(true);
        });
        Ok(session)
    }

    fn terminal(&self) -> Result<Arc<Terminal>> {
        let gone = || Error::gone("the program has ended");
        self.terminal.upgrade().ok_or_else(gone)
    }
}

impl Session for PtySession {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        let terminal = self.terminal()?;
        terminal.input.push(&terminal.master, input).await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        Ok(set_size(self.terminal()?.master.as_fd(), size)?)
    }

    async fn terminate(&self, grace: Duration) -> Result<()> {
        let mut ended = self.ended.clone();
        if *ended.borrow() {
            return Ok(());
        }
        let reaped = self.reaped.read().await;
        if !*reaped {
            self.tree.end(grace).await?;
        }
        drop(reaped);
        let reported = ended.wait_for(|ended| *ended).await;
        reported
            .map(drop)
            .map_err(|_| Error::internal("the session's end was not reported"))
    }
}
