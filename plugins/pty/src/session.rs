use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentd_plugin_api::descriptor::watch;
use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{Error, Result, Session, SessionEvents, Size};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch as state;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::child::{Child, set_size};
use crate::input::Input;

/// What the program leaves behind has so long to end by itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Output of a process that nobody can find (see [`ProcessTree`]) is read until it pauses so long.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// How much is read before it is handed over and another session has its turn, in bytes. The
/// kernel gives 1 to 4 KiB at a time.
const CHUNK: usize = 8 * 1024;

thread_local! {
    /// Shared by all sessions that this thread reads for, so that an idle session has no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// A program on a PTY, with two tasks: one reads and sees to the end, one writes.
pub struct PtySession {
    /// Owned by the task that sees to the end, so that an ended session has no descriptor open.
    terminal: Weak<Terminal>,
    tree: ProcessTree,
    /// True once the end has been reported.
    ended: state::Receiver<bool>,
}

struct Terminal {
    master: AsyncFd<OwnedFd>,
    input: Input,
    /// Bytes read so far.
    received: AtomicU64,
}

impl PtySession {
    /// Takes over a child that has just been started.
    pub fn supervise(mut child: Child, id: &str, events: SessionEvents) -> Result<PtySession> {
        let master = child.take_master();
        let master = master.ok_or_else(|| Error::internal("the terminal is already in use"))?;
        let terminal = Arc::new(Terminal {
            master: watch(master, Interest::READABLE | Interest::WRITABLE)?,
            input: Input::new(),
            received: AtomicU64::new(0),
        });
        let tree = ProcessTree::new(id, child.pid());
        let (report_end, ended) = state::channel(false);

        let output = tokio::spawn(read(terminal.clone(), events.clone()));
        let input = tokio::spawn({
            let terminal = terminal.clone();
            async move {
                if let Err(error) = terminal.input.drain(&terminal.master).await {
                    tracing::debug!(%error, "no more input");
                }
                terminal.input.close();
            }
        });
        let session = PtySession {
            terminal: Arc::downgrade(&terminal),
            tree: tree.clone(),
            ended,
        };
        tokio::spawn(async move {
            let status = child.wait().await;
            if let Err(error) = tree.end(ORPHAN_GRACE).await {
                tracing::warn!(%error, "the agent left processes behind");
            }
            terminal.drained(output).await;
            terminal.input.close();
            input.abort();
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
        self.tree.end(grace).await?;
        let reported = ended.wait_for(|ended| *ended).await;
        reported
            .map(drop)
            .map_err(|_| Error::internal("the session's end was not reported"))
    }
}

impl Terminal {
    /// Waits until everything that was printed has been handed over.
    async fn drained(&self, mut output: JoinHandle<()>) {
        loop {
            let before = self.received.load(Ordering::Relaxed);
            if timeout(DRAIN_PAUSE, &mut output).await.is_ok() {
                return;
            }
            if self.received.load(Ordering::Relaxed) == before {
                tracing::warn!("an unknown process keeps the terminal of an ended agent open");
                return output.abort();
            }
        }
    }

    /// Reads until there is nothing more for now, or the buffer is full.
    fn read_some(&self, buffer: &mut [u8]) -> (usize, io::Result<()>) {
        let mut filled = 0;
        while filled < buffer.len() {
            match rustix::io::read(self.master.get_ref(), &mut buffer[filled..]) {
                Ok(0) => return (filled, Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return (filled, Err(error.into())),
            }
        }
        (filled, Ok(()))
    }
}

/// Hands over the output until the last process has closed the terminal, which the kernel tells
/// with EIO after the last byte.
async fn read(terminal: Arc<Terminal>, events: SessionEvents) {
    while let Ok(mut ready) = terminal.master.readable().await {
        let (status, result) = BUFFER.with_borrow_mut(|buffer| {
            let (filled, result) = terminal.read_some(buffer);
            terminal
                .received
                .fetch_add(filled as u64, Ordering::Relaxed);
            let status = (filled > 0).then(|| events.output(&buffer[..filled]));
            (status, result)
        });
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(_) => return,
        }
        drop(ready);
        match status {
            Some(status) if status.closed => return,
            Some(status) if status.credit == 0 => events.ready().await,
            Some(_) => tokio::task::yield_now().await,
            None => {}
        }
    }
}
