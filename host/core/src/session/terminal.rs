use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_api::Size;
use agentd_terminal::OutputLog;
use bytes::Bytes;
use tokio::sync::watch;

/// A viewer is sent so much at a time, at most, in bytes.
const MAX_FRAME: usize = 64 * 1024;

/// The output of a session, kept by absolute position. Viewers hold positions, not queues: one
/// that is slow costs nothing, and one that does not exist holds nobody up.
#[derive(Debug)]
pub struct Terminal {
    state: Mutex<State>,
    /// Changes whenever there is something new. Level-triggered: no wake-up can be lost between
    /// looking and waiting.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    log: OutputLog,
    size: Size,
    /// Where in the output the size changed, oldest first; only as far back as the log goes.
    resizes: VecDeque<(u64, Size)>,
    ended: bool,
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

/// A viewer's place in the output.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The position of the next byte.
    pub seq: u64,
    /// The size that the viewer knows of.
    pub size: Size,
}

impl Terminal {
    /// An empty terminal that keeps `history` bytes.
    pub fn new(size: Size, history: usize) -> Self {
        Terminal {
            state: Mutex::new(State {
                log: OutputLog::new(history),
                size,
                resizes: VecDeque::new(),
                ended: false,
            }),
            changes: watch::Sender::new(()),
        }
    }

    /// Appends output.
    pub fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.log.append(bytes);
        let tail = state.log.tail();
        // A resize that nobody can replay any more only sets the size.
        while state.resizes.front().is_some_and(|(at, _)| *at < tail) {
            state.resizes.pop_front();
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// Notes a new size. False when it is the present one.
    pub fn resize(&self, size: Size) -> bool {
        let mut state = self.lock();
        if state.size == size {
            return false;
        }
        let head = state.log.head();
        if state.resizes.back().is_some_and(|(at, _)| *at == head) {
            state.resizes.pop_back();
        }
        state.resizes.push_back((head, size));
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

    /// The present size.
    pub fn size(&self) -> Size {
        self.lock().size
    }

    /// Told of everything new.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The oldest place that can be shown, or `seq` where that is kept still.
    pub fn cursor(&self, seq: Option<u64>) -> Cursor {
        let state = self.lock();
        let kept = state.log.tail()..=state.log.head();
        let seq = seq
            .filter(|seq| kept.contains(seq))
            .unwrap_or(*kept.start());
        let before = state.resizes.iter().rev().find(|(at, _)| *at <= seq);
        let first = state.resizes.front().map_or(state.size, |(_, size)| *size);
        Cursor {
            seq,
            size: before.map_or(first, |(_, size)| *size),
        }
    }

    /// What follows `cursor`, and moves it on.
    pub fn next(&self, cursor: &mut Cursor) -> Next {
        let mut state = self.lock();
        let due = state
            .resizes
            .iter()
            .find(|(at, size)| *at > cursor.seq || (*at == cursor.seq && *size != cursor.size));
        let mut limit = MAX_FRAME;
        if let Some((at, size)) = due.copied() {
            if at == cursor.seq {
                cursor.size = size;
                return Next::Resize(size);
            }
            limit = usize::try_from(at - cursor.seq)
                .unwrap_or(MAX_FRAME)
                .min(MAX_FRAME);
        }
        let ended = state.ended;
        match state.log.read(cursor.seq, limit) {
            None => Next::Lost,
            Some(bytes) if !bytes.is_empty() => {
                cursor.seq += bytes.len() as u64;
                Next::Output(bytes)
            }
            Some(_) if ended => Next::Ended,
            Some(_) => Next::Nothing,
        }
    }

    /// Everything that is kept.
    pub fn history(&self) -> Vec<u8> {
        let mut cursor = self.cursor(None);
        let mut history = Vec::new();
        loop {
            match self.next(&mut cursor) {
                Next::Output(bytes) => history.extend_from_slice(&bytes),
                Next::Resize(_) => {}
                Next::Nothing | Next::Ended | Next::Lost => return history,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
