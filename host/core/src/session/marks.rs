use std::collections::VecDeque;

use agentd_terminal::Emulator;
use bytes::Bytes;

use super::log::Cursor;
use super::screen::size;

/// There are so many marks in what is kept of the output, about.
const COUNT: u64 = 4;

/// No mark is larger, in bytes; a screen that takes more has an empty one.
const LARGEST: usize = 64 << 10;

/// What the screen showed at a position: for readers of the log, where the output that made it is not kept
/// any more.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The position, and the size there.
    pub cursor: Cursor,
    /// Brings a fresh terminal to it; empty where that takes too much.
    pub snapshot: Bytes,
    /// Whether it was the alternate screen.
    pub alternate: bool,
}

impl Mark {
    pub(super) fn of(cursor: Cursor, emulator: &Emulator) -> Self {
        Mark {
            cursor,
            snapshot: emulator.plain_snapshot(LARGEST).unwrap_or_default().into(),
            alternate: emulator.alternate_screen(),
        }
    }

    /// The same of what an earlier daemon has left.
    pub(super) fn of_snapshot(cursor: Cursor, snapshot: &[u8]) -> Self {
        let mut emulator = Emulator::new(size(cursor.size), 0);
        emulator.advance(snapshot);
        Self::of(cursor, &emulator)
    }
}

/// Those of one session, oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    /// Whether the last one is far behind, where so much of the output is kept.
    pub fn is_due(&self, seq: u64, kept: u64) -> bool {
        let last = self.0.back().map_or(0, |mark| mark.cursor.seq);
        seq.saturating_sub(last) >= kept / COUNT
    }

    pub fn push(&mut self, mark: Mark) {
        self.0.push_back(mark);
    }

    /// Forgets those of output that is not kept.
    pub fn forget_before(&mut self, seq: u64) {
        let gone = self.0.partition_point(|mark| mark.cursor.seq < seq);
        self.0.drain(..gone);
    }

    /// The newest one, where that is not before `seq`.
    pub fn newest_from(&self, seq: u64) -> Option<Mark> {
        self.0.back().filter(|mark| mark.cursor.seq >= seq).cloned()
    }

    /// The oldest one that is not before `seq`.
    pub fn from(&self, seq: u64) -> Option<Mark> {
        self.0.iter().find(|mark| mark.cursor.seq >= seq).cloned()
    }
}
