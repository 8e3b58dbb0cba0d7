use crate::emulator::Emulator;
use crate::size::Size;

/// An [`Emulator`] that nobody looks at and no output changes, as its snapshot: a few KiB.
#[derive(Debug, Clone)]
pub struct PutAway {
    size: Size,
    scrollback: usize,
    snapshot: Box<[u8]>,
    replies: Vec<u8>,
}

impl Emulator {
    /// Trades the emulator for its snapshot. Answers not yet taken are kept.
    pub fn put_away(mut self) -> PutAway {
        PutAway {
            size: self.size(),
            scrollback: self.scrollback(),
            replies: self.take_replies(),
            snapshot: self.whole_snapshot().into(),
        }
    }
}

impl PutAway {
    /// The emulator as it was.
    pub fn restore(self) -> Emulator {
        let mut emulator = Emulator::new(self.size, self.scrollback);
        emulator.advance(&self.snapshot);
        emulator.put_back_replies(self.replies);
        emulator
    }

    /// What [`Emulator::snapshot`] answers, with the whole scrollback.
    pub fn snapshot(&self) -> &[u8] {
        &self.snapshot
    }

    /// [`Emulator::size`].
    pub fn size(&self) -> Size {
        self.size
    }
}
