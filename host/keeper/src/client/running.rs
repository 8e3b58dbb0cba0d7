use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentd_process::descriptor::watch;
use agentd_process::process_tree::ProcessTree;
use agentd_process::terminal::{Ended, Input, Sink, Size, set_size};
use agentd_process::{Error, Result};
use tokio::io::Interest;
use tokio::sync::{Notify, RwLock, watch as state};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::PATIENCE;
use super::kept::Kept;
use super::link::Link;
use super::output::{Output, Reader};
use crate::protocol::Request;
use crate::ring::{Ring, sealed};

/// What the program leaves behind has so long to end by itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// The pause before it is tried again to end a program that nobody has any more.
const PAUSE: Duration = Duration::from_secs(1);

/// A program that is followed, with three tasks: one hands over output, one writes, one handles the
/// program's end. Its methods may be called and polled anywhere, also outside of any runtime. It runs
/// on when this is dropped, and is still followed.
pub struct Running {
    index: u64,
    pid: u32,
    link: Arc<Link>,
    ring: Weak<Ring>,
    /// Owned by the tasks, so that an ended program has no descriptor open.
    terminal: Weak<Terminal>,
    tree: ProcessTree,
    /// Read while the tree is ended by the number of its first process; true when that is reaped.
    reaped: Arc<RwLock<bool>>,
    /// True once the end has been reported.
    ended: state::Receiver<bool>,
    abandoned: Arc<Abandoned>,
    task: AbortHandle,
}

/// Whether nobody has a program any more, who could note its end or leave checkpoints.
#[derive(Default)]
pub struct Abandoned {
    is: AtomicBool,
    /// Whether somebody has it who ends it.
    is_being_ended: AtomicBool,
    notified: Notify,
}

impl Abandoned {
    pub fn is(&self) -> bool {
        self.is.load(SeqCst)
    }

    pub fn is_being_ended(&self) -> bool {
        self.is_being_ended.load(SeqCst)
    }

    fn set(&self) {
        self.is.store(true, SeqCst);
        self.notified.notify_one();
    }

    /// Done when it is so; for one task.
    async fn set_by_then(&self) {
        self.notified.notified().await;
    }
}

struct Terminal {
    master: Arc<OwnedFd>,
    input: Input,
}

impl Running {
    pub(super) fn follow(
        kept: Kept,
        from: u64,
        checkpoints: bool,
        sink: Arc<dyn Sink>,
    ) -> Result<Running> {
        let tree = kept.tree()?;
        let Kept {
            listed,
            link,
            following,
            ring,
            terminal,
            bell,
            ..
        } = kept;
        let entered = link.runtime().enter();
        let terminal = Arc::new(Terminal {
            master: Arc::new(terminal),
            input: Input::default(),
        });
        let bell = watch(bell, Interest::READABLE)?;
        drop(entered);
        let from = from.max(ring.first()).min(ring.head());
        if !checkpoints {
            ring.take(from);
        }
        let abandoned = Arc::<Abandoned>::default();
        let reader = Reader {
            following: following.clone(),
            index: listed.index,
            ring: ring.clone(),
            bell,
            link: link.clone(),
            sink: sink.clone(),
            position: AtomicU64::new(from),
            checkpoints,
            abandoned: abandoned.clone(),
        };
        let reaped = Arc::new(RwLock::new(false));
        let (report_end, ended) = state::channel(false);
        let running = {
            let (link, tree) = (link.clone(), tree.clone());
            let (reaped, abandoned) = (reaped.clone(), abandoned.clone());
            let (ring, terminal) = (Arc::downgrade(&ring), Arc::downgrade(&terminal));
            move |task| Running {
                index: listed.index,
                pid: listed.pid,
                link,
                ring,
                terminal,
                tree,
                reaped,
                ended,
                abandoned,
                task,
            }
        };
        if ring.exited().is_none() {
            sink.running(listed.pid);
        }
        drop(ring);
        // One task begins the others on their own thread: each that is begun from elsewhere wakes it.
        let task = link.clone().runtime().spawn(async move {
            let output = Output::read(reader);
            let mut input = JoinSet::new();
            input.spawn({
                let terminal = terminal.clone();
                async move {
                    if let Err(error) = terminal.input.drain(&terminal.master).await {
                        tracing::debug!(%error, "no more input");
                    }
                    terminal.input.close();
                }
            });
            let how = output.exited().await;
            if matches!(how, Ended::Unknown(_)) && link.is_left() {
                return;
            }
            tree.end_rest(ORPHAN_GRACE).await;
            // A question of the program's that nobody answers any more holds nothing up.
            terminal.input.close();
            input.abort_all();
            output.drained().await;
            // Nothing of it is left when its end is known.
            input.shutdown().await;
            drop(terminal);
            let forget = async {
                let mut reaped = reaped.write().await;
                let index = listed.index;
                if let Err(error) = link.ask(Request::Forget { index }, None).await {
                    tracing::debug!(%error, "a keeper keeps a program that has ended");
                }
                *reaped = true;
            };
            // What would end with this process anyway is given back before anybody learns of the end, and
            // the rest when its end cannot get lost any more.
            let outlives = link.pid != std::process::id();
            if !outlives {
                forget.await;
                sink.ended(how);
                report_end.send_replace(true);
            } else {
                let _forgetting = link.forgetting();
                sink.ended(how);
                report_end.send_replace(true);
                tokio::select! {
                    () = sink.noted() => {}
                    () = abandoned.set_by_then() => {}
                    // There is nothing left to be forgotten, or somebody else has it.
                    () = link.closed() => {}
                }
                forget.await;
            }
            drop(following);
            drop(sink);
        });
        Ok(running(task.abort_handle()))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
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
        self.abandoned.is_being_ended.store(true, SeqCst);
        let (tree, reaped) = (self.tree.clone(), self.reaped.clone());
        let end = self.link.runtime().spawn(async move {
            let reaped = reaped.read().await;
            match *reaped {
                true => Ok(()),
                false => tree.end(grace).await,
            }
        });
        let unreported = || Error::internal("the program's end was not reported");
        end.await.map_err(|_| unreported())??;
        let link = self.link.clone();
        let reported = self.link.runtime().spawn(async move {
            loop {
                let reported = async { ended.wait_for(|ended| *ended).await.map(drop) };
                match timeout(PATIENCE, reported).await {
                    Ok(reported) => return reported.map_err(|_| unreported()),
                    // A keeper that is stopped reports nothing.
                    Err(_) => link.responds().await?,
                }
            }
        });
        reported.await.map_err(|_| unreported())?
    }

    /// Begins to end it at once, if it still runs, and does not wait for that.
    pub fn abandon(self: &Arc<Self>) {
        self.abandoned.set();
        if !*self.ended.borrow() {
            let this = self.clone();
            self.link.runtime().spawn(async move {
                let mut is_logged = false;
                // Nobody else would try again.
                while let Err(error) = this.end(Duration::ZERO).await {
                    if !is_logged {
                        tracing::warn!(%error, "ending a program that nobody has any more");
                    }
                    is_logged = true;
                    // Left to a later daemon.
                    if this.ended.has_changed().is_err() {
                        return;
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }

    /// Follows it no longer: it can be opened again in a moment.
    pub fn leave(&self) {
        self.task.abort();
    }

    /// Leaves the state of the terminal in the keeper, instead of the one before. The ring no longer
    /// has to hold what is before `position`.
    pub async fn checkpoint(&self, position: u64, size: Size, snapshot: &[u8]) -> Result<()> {
        let (link, snapshot) = (self.link.clone(), sealed("agentd-snapshot", snapshot)?);
        let request = Request::Checkpoint {
            index: self.index,
            position,
            size,
        };
        let task = self
            .link
            .runtime()
            .spawn(async move { link.ask(request, Some(snapshot)).await.map(drop) });
        task.await
            .map_err(|_| Error::internal("a call of a keeper panicked"))?
    }

    /// How many bytes of output the keeper may not overwrite yet, of how many it has room for; none once it
    /// has ended.
    pub fn level(&self) -> Option<(u64, u64)> {
        self.ring.upgrade().map(|ring| ring.level())
    }

    /// Notes for a later daemon that what the program asked its terminal before `position` is answered.
    pub fn note_answered(&self, position: u64) {
        if let Some(ring) = self.ring.upgrade() {
            ring.set_answered(position);
        }
    }

    /// As [`Kept::read_back`]; nothing when the program has ended.
    pub fn read_back(&self, from: u64, to: u64) -> (u64, Vec<u8>) {
        match self.ring.upgrade() {
            Some(ring) => ring.copy(from, to),
            None => (from, Vec::new()),
        }
    }

    fn terminal(&self) -> Result<Arc<Terminal>> {
        let gone = || Error::gone("the program has ended");
        self.terminal.upgrade().ok_or_else(gone)
    }
}
