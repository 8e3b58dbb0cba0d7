//! Reading what a program prints.
//!
//! One thread reads for all sessions. It has little to do: an idle session costs nothing, a key's
//! echo some microseconds. A program that floods is read in other threads, and floods take turns
//! there, on half of the processors: what is busy all the time waits for its next share of a processor
//! like any other busy program, and the echo of somebody's key would have to wait with it. Beside
//! ten floods on two processors, the slowest hundredth of echoes took 41 times as long as without,
//! and takes 1.4 times as long with this.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::{Flow, Sink};
use crate::threads::Threads;

/// How much is read before it is handed over and another session has its turn, in bytes. The
/// kernel gives 1 to 4 KiB at a time.
const CHUNK: usize = 8 * 1024;

/// More than [`FLOOD`] bytes in this time are a flood; drawing a screen anew is less than that.
const WINDOW: Duration = Duration::from_millis(100);
const FLOOD: usize = 64 * 1024;

/// Floods take turns of this length, or until they pause for so long.
const TURN: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Output of a process that nobody can find (see
/// [`ProcessTree`](crate::process_tree::ProcessTree)) is read until it pauses so long.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

thread_local! {
    /// Shared by all sessions that this thread reads for, so that an idle session has no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// The output of a program, and the task that hands it over.
pub struct Output {
    reader: Arc<Reader>,
    task: JoinHandle<()>,
}

struct Reader {
    master: Arc<AsyncFd<OwnedFd>>,
    sink: Arc<dyn Sink>,
    /// Where a flood has its turns.
    floods: Arc<Threads>,
    /// Bytes read so far.
    received: AtomicU64,
}

/// When to look at the terminal again.
#[derive(PartialEq, Eq)]
enum Next {
    Now,
    /// When there is something to read.
    Readable,
    /// When more is wanted.
    Taken,
    Never,
}

impl Output {
    /// Hands over what comes until the last process has closed the terminal.
    pub fn read(master: Arc<AsyncFd<OwnedFd>>, sink: Arc<dyn Sink>, floods: Arc<Threads>) -> Self {
        let reader = Arc::new(Reader {
            master,
            sink,
            floods,
            received: AtomicU64::new(0),
        });
        let task = tokio::spawn(reader.clone().run());
        Output { reader, task }
    }

    /// Waits until everything that was printed has been handed over.
    pub async fn drained(mut self) {
        loop {
            let before = self.reader.received.load(Ordering::Relaxed);
            if timeout(DRAIN_PAUSE, &mut self.task).await.is_ok() {
                return;
            }
            // With something left to read, it is only the turn of others.
            if self.reader.received.load(Ordering::Relaxed) == before
                && !self.reader.is_readable_within(Duration::ZERO)
            {
                tracing::warn!("an unknown process keeps the terminal of an ended agent open");
                return self.task.abort();
            }
        }
    }
}

impl Reader {
    async fn run(self: Arc<Self>) {
        let mut recent = Recent::new();
        while let Ok(mut ready) = self.master.readable().await {
            let (count, mut next) = self.look();
            if next == Next::Readable {
                ready.clear_ready();
            }
            drop(ready);
            if recent.is_flood(count) && matches!(next, Next::Now | Next::Readable) {
                let reader = self.clone();
                let turn = async move { reader.read_flood() };
                // The threads end with everything, and nothing is read any more then.
                let Ok((count, then)) = self.floods.handle().spawn(turn).await else {
                    return;
                };
                recent.is_flood(count);
                next = then;
            }
            match next {
                Next::Now => yield_now().await,
                Next::Readable => {}
                Next::Taken => self.sink.ready().await,
                Next::Never => return,
            }
        }
    }

    /// Has a turn, blocking: how much was read, and when to look again.
    fn read_flood(&self) -> (usize, Next) {
        let end = Instant::now() + TURN;
        let mut total = 0;
        loop {
            let (count, next) = self.look();
            total += count;
            match next {
                Next::Now if Instant::now() < end => {}
                Next::Readable if Instant::now() < end && self.is_readable_within(PAUSE) => {}
                next => return (total, next),
            }
        }
    }

    /// Blocks for so long.
    fn is_readable_within(&self, patience: Duration) -> bool {
        let mut master = [PollFd::new(self.master.get_ref(), PollFlags::IN)];
        let patience = Timespec::try_from(patience).unwrap_or_default();
        // A failure is seen again by whoever reads next.
        poll(&mut master, Some(&patience)).is_ok_and(|count| count > 0)
    }

    /// Hands over what there is, up to a [`CHUNK`].
    fn look(&self) -> (usize, Next) {
        BUFFER.with_borrow_mut(|buffer| {
            let (count, result) = self.fill(buffer);
            self.received.fetch_add(count as u64, Ordering::Relaxed);
            let flow = (count > 0).then(|| self.sink.output(&buffer[..count]));
            let next = match (result, flow) {
                (_, Some(Flow::Closed)) => Next::Never,
                (_, Some(Flow::Wait)) => Next::Taken,
                (Ok(()), _) => Next::Now,
                (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => Next::Readable,
                // The kernel reports the end with EIO after the last byte.
                (Err(_), _) => Next::Never,
            };
            (count, next)
        })
    }

    /// Reads until there is nothing more for now, or the buffer is full.
    fn fill(&self, buffer: &mut [u8]) -> (usize, io::Result<()>) {
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

/// What was read in the present [`WINDOW`].
struct Recent {
    since: Instant,
    bytes: usize,
}

impl Recent {
    fn new() -> Self {
        Recent {
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts what was read just now: whether it makes a flood.
    fn is_flood(&mut self, count: usize) -> bool {
        if self.since.elapsed() > WINDOW {
            *self = Recent::new();
        }
        self.bytes = self.bytes.saturating_add(count);
        self.bytes > FLOOD
    }
}
