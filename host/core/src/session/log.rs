use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_api::Size;
use agentd_terminal::OutputLog;
use bytes::Bytes;
use tokio::sync::watch;

#[cfg(test)]
thread_local! {
    /// How often this thread has taken the lock of a log.
    pub(super) static TAKES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A viewer is sent so much at a time, at most, in bytes.
pub(super) const MAX_FRAME: usize = 64 * 1024;

/// The output by absolute position, and where in it the size changed. Viewers hold positions, not
/// queues: one that is slow costs nothing, and one that does not exist holds nobody up.
#[derive(Debug)]
pub struct Log {
    state: Mutex<State>,
    /// That of the output, for those who need no more than that. Set with the lock held.
    head: AtomicU64,
    capacity: u64,
    /// Changes whenever there is something new. Level-triggered: no wake-up can be lost between
    /// looking and waiting.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    output: OutputLog,
    size: Size,
    /// Oldest first; only as far back as the output goes.
    resizes: VecDeque<(u64, Size)>,
    /// The size before the first of `resizes`.
    size_before: Size,
    hole: Option<Hole>,
    ended: bool,
}

impl State {
    /// Those of output that is not kept any more.
    fn forget_sizes(&mut self) {
        let tail = self.output.tail();
        while let Some((at, size)) = self.resizes.front().copied()
            && at < tail
        {
            self.size_before = size;
            self.resizes.pop_front();
        }
    }
}

/// What comes next for a viewer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Output; it ends where the next resize is due.
    Output(Bytes),
    /// The size changed at this position.
    Resize(Size),
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    Ended,
    /// The position is no longer, or not yet, in the log.
    Lost,
}

/// A place in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The position of the next byte.
    pub seq: u64,
    /// The size that whoever is there knows of.
    pub size: Size,
}

/// The sizes in a stretch of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// At its beginning.
    pub before: Size,
    /// Where it changed, oldest first.
    pub changes: Vec<(u64, Size)>,
}

/// Output that was lost while nobody took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The position of its first byte.
    pub from: u64,
    /// The position after its last byte.
    pub to: u64,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.to.saturating_sub(self.from);
        write!(
            f,
            "[agentd: {lost} bytes of output were lost here, as no service was there]"
        )
    }
}

impl Log {
    pub(super) fn new(size: Size, capacity: usize) -> Self {
        let sizes = Sizes {
            before: size,
            changes: Vec::new(),
        };
        Self::starting_at(0, sizes, None, capacity)
    }

    /// One whose earlier output is not there; of `sizes`, changes may be of output to come.
    pub(super) fn starting_at(
        start: u64,
        sizes: Sizes,
        hole: Option<Hole>,
        capacity: usize,
    ) -> Self {
        let Sizes { before, changes } = sizes;
        let mut state = State {
            output: OutputLog::starting_at(start, capacity),
            size: changes.last().map_or(before, |(_, size)| *size),
            resizes: changes.into(),
            size_before: before,
            hole,
            ended: false,
        };
        state.forget_sizes();
        Log {
            head: AtomicU64::new(state.output.head()),
            state: Mutex::new(state),
            capacity: capacity as u64,
            changes: watch::Sender::new(()),
        }
    }

    /// The sizes that are known.
    pub(super) fn sizes(&self) -> Sizes {
        let state = self.lock();
        Sizes {
            before: state.size_before,
            changes: state.resizes.iter().copied().collect(),
        }
    }

    /// The output that was lost last.
    pub(super) fn hole(&self) -> Option<Hole> {
        self.lock().hole
    }

    pub(super) fn append(&self, bytes: &[u8], held_from: u64) {
        let mut state = self.lock();
        state.output.hold(held_from);
        state.output.append(bytes);
        state.forget_sizes();
        self.head.store(state.output.head(), SeqCst);
        drop(state);
        self.changes.send_replace(());
    }

    /// Notes a new size. False when it is the present one.
    pub fn resize(&self, size: Size) -> bool {
        let mut state = self.lock();
        if state.size == size {
            return false;
        }
        let head = state.output.head();
        let last = state.resizes.back().map(|(at, _)| *at);
        // After an earlier daemon's, of which the output may not be there yet.
        let at = last.map_or(head, |last| last.max(head));
        if last == Some(at) {
            state.resizes.pop_back();
        }
        state.resizes.push_back((at, size));
        state.size = size;
        drop(state);
        self.changes.send_replace(());
        true
    }

    /// There will be no more output.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changes.send_replace(());
    }

    /// Whether there will be no more output.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The position after the last byte. Takes no lock: every output asks for it several times.
    pub fn head(&self) -> u64 {
        self.head.load(SeqCst)
    }

    /// The position of the oldest byte that is kept.
    pub fn tail(&self) -> u64 {
        self.lock().output.tail()
    }

    /// How much of the output is kept, about, in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The present size.
    pub fn size(&self) -> Size {
        self.lock().size
    }

    /// Notified of everything new.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The place `seq`, where that is still kept; without one the oldest that is.
    pub fn cursor(&self, seq: Option<u64>) -> Cursor {
        let state = self.lock();
        let kept = state.output.tail()..=state.output.head();
        let seq = seq
            .filter(|seq| kept.contains(seq))
            .unwrap_or(*kept.start());
        let after = state.resizes.partition_point(|(at, _)| *at <= seq);
        let before = after.checked_sub(1).map(|index| state.resizes[index].1);
        Cursor {
            seq,
            size: before.unwrap_or(state.size_before),
        }
    }

    /// Whether `seq` is still kept.
    pub fn keeps(&self, seq: u64) -> bool {
        let state = self.lock();
        (state.output.tail()..=state.output.head()).contains(&seq)
    }

    /// What follows `cursor`, and moves it on.
    pub fn next(&self, cursor: &mut Cursor) -> Next {
        self.next_until(cursor, u64::MAX)
    }

    /// The same for one who stops at the position `end`.
    pub(super) fn next_until(&self, cursor: &mut Cursor, end: u64) -> Next {
        let mut state = self.lock();
        let limit = end.saturating_sub(cursor.seq).min(MAX_FRAME as u64);
        let mut limit = usize::try_from(limit).unwrap_or(MAX_FRAME);
        let first = state.resizes.partition_point(|(at, _)| *at < cursor.seq);
        let mut ahead = state.resizes.range(first..);
        let due = ahead.find(|(at, size)| *at > cursor.seq || *size != cursor.size);
        if let Some((at, size)) = due.copied() {
            if at == cursor.seq {
                cursor.size = size;
                return Next::Resize(size);
            }
            limit = usize::try_from(at - cursor.seq)
                .unwrap_or(MAX_FRAME)
                .min(limit);
        }
        let ended = state.ended;
        match state.output.read(cursor.seq, limit) {
            None => Next::Lost,
            Some(bytes) if !bytes.is_empty() => {
                cursor.seq += bytes.len() as u64;
                Next::Output(bytes)
            }
            Some(_) if ended => Next::Ended,
            Some(_) => Next::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        TAKES.set(TAKES.get() + 1);
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
