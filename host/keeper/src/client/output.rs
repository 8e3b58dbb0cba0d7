//! Handing over what a program prints.
//!
//! The daemon's own threads do so. They have little to do: an idle session costs nothing, a key's
//! echo some microseconds. What floods is handed over in other threads, where floods take turns, on half
//! of the processors: what is busy all the time waits for its next share of a processor like any other
//! busy program, and the echo of somebody's key would have to wait with it. Beside ten floods on two
//! processors, the slowest hundredth of echoes took 41 times as long as without, and takes 1.4 times
//! as long with this.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use agentd_process::ErrorKind;
use agentd_process::terminal::{Ended, Flow, Sink};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::here::Here;
use super::link::{Following, Link};
use super::running::Abandoned;
use crate::flood::{CHUNK, PAUSE, Recent, TURN, is_readable_within};
use crate::protocol::{Answer, Request};
use crate::ring::Ring;
use crate::socket;

/// Output of a process that nobody can find (see
/// [`ProcessTree`](agentd_process::process_tree::ProcessTree)) is taken until it pauses so long.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// The output of a program, and the task that hands it over.
pub struct Output {
    reader: Arc<Reader>,
    task: JoinHandle<()>,
    exited: watch::Receiver<Option<Ended>>,
}

/// Where output comes from and goes to.
pub struct Reader {
    #[expect(dead_code, reason = "nobody else reads the ring while this does")]
    pub following: Arc<Following>,
    pub index: u64,
    pub ring: Arc<Ring>,
    /// Rung by the keeper.
    pub bell: AsyncFd<OwnedFd>,
    pub link: Arc<Link>,
    pub sink: Arc<dyn Sink>,
    /// The position of what is handed over next.
    pub position: AtomicU64,
    /// Whether checkpoints say what the ring may overwrite; otherwise it is what was handed over.
    pub checkpoints: bool,
    pub abandoned: Arc<Abandoned>,
}

/// When to look at the ring again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Now,
    /// When there is something to hand over.
    Printed,
    /// When more is wanted.
    Taken,
    Never,
}

impl Output {
    /// Hands over what comes until the last process has closed the terminal, or the keeper has ended.
    pub fn read(reader: Reader) -> Self {
        let reader = Arc::new(reader);
        let (report, exited) = watch::channel(None);
        let task = tokio::spawn(reader.clone().run(report));
        Output {
            reader,
            task,
            exited,
        }
    }

    /// How the program itself ended, once it has.
    pub async fn exited(&self) -> Ended {
        let mut exited = self.exited.clone();
        let how = exited.wait_for(Option::is_some).await;
        // Nobody reports it any more when the keeper has ended.
        let how = how.ok().and_then(|how| how.clone());
        how.or_else(|| self.reader.ring.exited())
            .unwrap_or_else(|| Ended::Unknown("the keeper of its terminal has ended".to_owned()))
    }

    /// Waits until everything that was printed has been handed over.
    pub async fn drained(mut self) {
        loop {
            let before = self.reader.position.load(SeqCst);
            // The keeper may wait for a checkpoint that nobody leaves any more.
            self.reader.take(before);
            if timeout(DRAIN_PAUSE, &mut self.task).await.is_ok() {
                return;
            }
            let now = self.reader.position.load(SeqCst);
            let is_stuck = now == before && self.reader.ring.room() == 0;
            if is_stuck && self.reader.abandoned.is_being_ended() {
                // Whoever ends it need not have begun to leave the checkpoints that the keeper waits for.
                self.reader.make_room(now);
            } else if now == before && self.reader.nothing_comes(now).await {
                tracing::warn!("an unknown process keeps the terminal of an ended agent open");
                self.task.abort();
                // It has let go of the terminal then.
                let _ = (&mut self.task).await;
                return;
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    async fn run(self: Arc<Self>, report: watch::Sender<Option<Ended>>) {
        let closed = self.link.closed();
        let mut closed = std::pin::pin!(closed);
        // The keeper's end is the end of what is not in the ring by then.
        let mut is_last = false;
        if !self.hand_over(&report, &mut closed, &mut is_last).await {
            return;
        }
        // Nothing is handed over any more, and the program still runs.
        while !is_last && !self.report(&report) {
            self.ring.rouse_always();
            if self.ring.exited().is_none() {
                tokio::select! {
                    result = self.rung() => if result.is_err() { return },
                    () = &mut closed => is_last = true,
                }
            }
        }
    }

    /// Hands over until there is no more, or nobody wants it. False if that cannot go on.
    async fn hand_over(
        self: &Arc<Self>,
        report: &watch::Sender<Option<Ended>>,
        closed: &mut Pin<&mut impl Future<Output = ()>>,
        is_last: &mut bool,
    ) -> bool {
        let mut recent = Recent::new();
        let mut here = Here::new(&self.link, self.index);
        loop {
            let (count, mut next) = self.look();
            if recent.is_flood(count) && matches!(next, Next::Now | Next::Printed) {
                let reader = self.clone();
                let turn = async move { reader.hand_over_flood() };
                let floods = self.link.readers.floods.handle();
                let Ok((count, then)) = floods.spawn(turn).await else {
                    // The threads end with everything.
                    return false;
                };
                recent.is_flood(count);
                next = then;
            }
            let exited = self.report(report);
            match next {
                Next::Now => yield_now().await,
                Next::Printed if *is_last => return true,
                Next::Printed => {
                    let position = self.position.load(SeqCst);
                    if self.ring.await_output(position, (exited, false)) {
                        tokio::select! {
                            result = self.rung() => if result.is_err() { return false },
                            () = Here::read(&mut here) => {}
                            () = &mut *closed => *is_last = true,
                        }
                    }
                }
                Next::Taken => {
                    let mut ready = self.sink.ready();
                    loop {
                        // The end of the process is noticed meanwhile.
                        let watches = !*is_last && !self.report(report);
                        self.ring.rouse_always();
                        if watches && self.ring.exited().is_some() {
                            continue;
                        }
                        tokio::select! {
                            biased;
                            () = &mut ready => break,
                            result = self.rung(), if watches => if result.is_err() { return false },
                            () = &mut *closed, if watches => *is_last = true,
                        }
                    }
                }
                Next::Never => return true,
            }
        }
    }

    /// Lets what was handed over be overwritten, unless checkpoints do.
    fn take(&self, position: u64) {
        if !self.checkpoints || self.abandoned.is() {
            self.make_room(position);
        }
    }

    fn make_room(&self, position: u64) {
        self.ring.take(position);
        if self.ring.rouses_writer() {
            socket::ring(&self.link.room);
        }
    }

    /// Whether the keeper has nothing after `position`, and waits for the terminal alone. With output
    /// left it is only the turn of others, a full ring waits for a checkpoint, and a keeper that is
    /// stopped may have more to read.
    async fn nothing_comes(&self, position: u64) -> bool {
        if self.ring.room() == 0 || Here::new(&self.link, self.index).is_some_and(|it| it.waits()) {
            return false;
        }
        let index = self.index;
        match self.link.ask(Request::Exit { index }, None).await {
            Ok((Answer::Exit { head, closed, .. }, _)) => head == position && !closed,
            // Whoever ended it by force had it forgotten.
            Err(error) => error.kind == ErrorKind::Gone && self.ring.head() == position,
            _ => false,
        }
    }

    /// Reports how the process ended: whether it has.
    fn report(&self, report: &watch::Sender<Option<Ended>>) -> bool {
        if report.borrow().is_none()
            && let Some(how) = self.ring.exited()
        {
            report.send_replace(Some(how));
        }
        report.borrow().is_some()
    }

    /// Done when the keeper has rung, or nearly so: it may be for something known already.
    async fn rung(&self) -> io::Result<()> {
        self.bell.readable().await?.clear_ready();
        Ok(())
    }

    /// Has a turn, blocking: how much was handed over, and when to look again.
    fn hand_over_flood(&self) -> (usize, Next) {
        let end = Instant::now() + TURN;
        let mut total = 0;
        loop {
            let (count, next) = self.look();
            total += count;
            match next {
                Next::Now if Instant::now() < end => {}
                Next::Printed if Instant::now() < end && self.is_rung_within(PAUSE) => {}
                next => return (total, next),
            }
        }
    }

    /// Blocks for so long until there is more output.
    fn is_rung_within(&self, patience: Duration) -> bool {
        // It stays readable otherwise.
        let _ = rustix::io::read(self.bell.get_ref(), &mut [0; 8]);
        let exited = self.ring.exited().is_some();
        if exited
            || !self
                .ring
                .await_output(self.position.load(SeqCst), (false, false))
        {
            return !exited;
        }
        is_readable_within(self.bell.get_ref(), patience)
    }

    /// Hands over what there is, up to a [`CHUNK`].
    fn look(&self) -> (usize, Next) {
        let position = self.position.load(SeqCst);
        // Before the look: what was printed before it is closed is there.
        let is_closed = self.ring.is_closed();
        let output = self.ring.output_at(position, CHUNK);
        let count = output.len();
        if count == 0 {
            let next = if is_closed {
                Next::Never
            } else {
                Next::Printed
            };
            return (0, next);
        }
        let flow = self.sink.output(output);
        let position = position + count as u64;
        self.position.store(position, SeqCst);
        self.take(position);
        let next = match flow {
            Flow::Closed => Next::Never,
            Flow::Wait => Next::Taken,
            // A look that finds nothing costs a turn of the runtime.
            Flow::More if position == self.ring.head() => Next::Printed,
            Flow::More => Next::Now,
        };
        (count, next)
    }
}
