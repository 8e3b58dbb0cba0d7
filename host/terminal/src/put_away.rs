use crate::emulator::Emulator;
use crate::size::Size;

/// Longer snapshots take more than the emulator itself, in bytes.
const LONGEST_KEPT: usize = 128 << 10;

/// An [`Emulator`] that nobody looks at and no output changes.
///
/// It is kept as its snapshot, with as much of the scrollback as that has: some KiB, 128 at most.
/// A screen that alone takes more than that to write, as one with another colour in each cell, is
/// kept as it is, without its scrollback: 16 bytes a cell.
#[derive(Debug, Clone)]
pub struct PutAway {
    size: Size,
    scrollback: usize,
    kept: Kept,
    replies: Vec<u8>,
    bracketed_paste: bool,
}

#[derive(Debug, Clone)]
enum Kept {
    Snapshot(Box<[u8]>),
    Emulator(Box<Emulator>),
}

impl Emulator {
    /// Trades the emulator for what is needed to have it again. Answers not yet taken are kept.
    pub fn put_away(mut self) -> PutAway {
        let replies = self.take_replies();
        let (size, scrollback) = (self.size(), self.scrollback());
        let bracketed_paste = self.bracketed_paste();
        let (snapshot, is_whole) = self.snapshot_with_detail();
        let kept = if is_whole && snapshot.len() <= LONGEST_KEPT {
            Kept::Snapshot(snapshot.into())
        } else {
            self.forget_scrollback();
            Kept::Emulator(Box::new(self))
        };
        PutAway {
            size,
            scrollback,
            kept,
            replies,
            bracketed_paste,
        }
    }
}

impl PutAway {
    /// What another emulator of this size left as its [`snapshot`](Emulator::snapshot).
    pub fn of_snapshot(
        size: Size,
        scrollback: usize,
        snapshot: Vec<u8>,
        bracketed_paste: bool,
    ) -> Self {
        let kept = if snapshot.len() <= LONGEST_KEPT {
            Kept::Snapshot(snapshot.into())
        } else {
            let mut emulator = Emulator::new(size, scrollback);
            emulator.advance(&snapshot);
            emulator.forget_scrollback();
            Kept::Emulator(Box::new(emulator))
        };
        PutAway {
            size,
            scrollback,
            kept,
            replies: Vec::new(),
            bracketed_paste,
        }
    }

    /// The emulator as it was, but for scrollback that was left out.
    pub fn restore(self) -> Emulator {
        let mut emulator = match self.kept {
            Kept::Emulator(emulator) => *emulator,
            Kept::Snapshot(snapshot) => {
                let mut emulator = Emulator::new(self.size, self.scrollback);
                emulator.advance(&snapshot);
                emulator
            }
        };
        emulator.put_back_replies(self.replies);
        emulator
    }

    /// What [`Emulator::snapshot`] answers.
    pub fn snapshot(&self) -> Vec<u8> {
        match &self.kept {
            Kept::Snapshot(snapshot) => snapshot.to_vec(),
            Kept::Emulator(emulator) => emulator.snapshot(),
        }
    }

    /// [`Emulator::size`].
    pub fn size(&self) -> Size {
        self.size
    }

    /// [`Emulator::bracketed_paste`].
    pub fn bracketed_paste(&self) -> bool {
        self.bracketed_paste
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::LARGEST_SNAPSHOT;

    fn size(cols: u16, rows: u16) -> Size {
        Size::new(cols, rows).unwrap_or_default()
    }

    fn colorful(size: Size, lines: u32) -> Emulator {
        let mut emulator = Emulator::new(size, 1000);
        for n in 0..lines * u32::from(size.cols()) {
            let [_, r, g, b] = n.wrapping_mul(7919).to_be_bytes();
            let cell = format!("\x1b[38;2;{r};{g};{b};48;2;{b};{g};{r}mx");
            emulator.advance(cell.as_bytes());
        }
        emulator
    }

    /// Text and look of a screen, through a snapshot.
    fn after(size: Size, snapshot: &[u8]) -> Emulator {
        let mut emulator = Emulator::new(size, 1000);
        emulator.advance(snapshot);
        emulator
    }

    #[test]
    fn a_colorful_history_is_put_away_in_little() {
        let away = colorful(size(80, 24), 1000).put_away();
        let snapshot = away.snapshot();
        assert!(snapshot.len() <= LONGEST_KEPT, "{} bytes", snapshot.len());
        assert!(matches!(away.kept, Kept::Snapshot(_)));
        assert_eq!(away.restore().snapshot(), snapshot);
    }

    #[test]
    fn a_screen_that_takes_much_to_write_is_kept_without_its_scrollback() {
        let emulator = colorful(size(200, 50), 100);
        let before = emulator.snapshot();
        let away = emulator.put_away();
        assert_eq!(away.snapshot(), before);
        let Kept::Emulator(kept) = &away.kept else {
            panic!("kept as {} bytes", before.len());
        };
        let rows = &kept.terminal().primary.rows;
        assert_eq!(rows.len(), 50);
        assert_eq!(away.restore().snapshot(), before);
    }

    #[test]
    fn a_snapshot_of_another_is_one_that_was_put_away() {
        for emulator in [colorful(size(80, 24), 1000), colorful(size(200, 50), 100)] {
            let before = emulator.snapshot();
            let away = PutAway::of_snapshot(emulator.size(), 1000, before.clone(), true);
            assert_eq!(away.snapshot(), before);
            assert!(away.bracketed_paste());
            assert_eq!(away.restore().snapshot(), before);
        }
    }

    #[test]
    fn colors_of_a_large_screen_are_whole() {
        let emulator = colorful(size(500, 150), 150);
        let (snapshot, is_whole) = emulator.snapshot_with_detail();
        assert!(is_whole && snapshot.len() <= LARGEST_SNAPSHOT);
        assert_eq!(after(emulator.size(), &snapshot).snapshot(), snapshot);
    }

    #[test]
    fn colors_of_the_largest_screen_are_bounded_and_its_text_is_right() {
        let emulator = colorful(size(1000, 1000), 1000);
        let snapshot = emulator.snapshot();
        assert!(snapshot.len() <= LARGEST_SNAPSHOT, "{}", snapshot.len());
        let shown = after(emulator.size(), &snapshot);
        assert_eq!(shown.screen_text(), emulator.screen_text());
        // Some of the colours are left.
        assert!(snapshot.windows(5).any(|bytes| bytes == b";48;2"));
    }

    #[test]
    fn the_longest_text_on_both_screens_is_bounded() {
        let mut emulator = Emulator::new(size(1000, 1000), 1000);
        let text = "\u{1d400}\u{1d401}".repeat(500_000);
        emulator.advance(format!("\x1b]0;{}\x07", "t".repeat(5000)).as_bytes());
        emulator.advance("\x1b[22t".repeat(20).as_bytes());
        emulator.advance(text.as_bytes());
        emulator.advance(b"\x1b[?1049h\x1b[31m");
        emulator.advance(text.as_bytes());
        emulator.advance(format!("\x1b]2;{}", "x".repeat(100_000)).as_bytes());
        let snapshot = emulator.snapshot();
        assert!(snapshot.len() <= LARGEST_SNAPSHOT, "{}", snapshot.len());
        let shown = after(emulator.size(), &snapshot);
        assert_eq!(shown.screen_text(), emulator.screen_text());
    }

    /// Attack: combining marks without end in each cell. Then: they are cut.
    #[test]
    fn marks_in_each_cell_are_bounded() {
        let mut emulator = Emulator::new(size(1000, 1000), 0);
        let marked = format!("e{}", "\u{301}".repeat(31));
        emulator.advance(format!("{marked}\x1b[2147483647b").as_bytes());
        let snapshot = emulator.snapshot();
        assert!(snapshot.len() <= LARGEST_SNAPSHOT, "{}", snapshot.len());
        assert!(after(emulator.size(), &snapshot).screen_text()[999].starts_with("eee"));
    }

    /// Attack: hyperlinks of any length and number. Then: they take no more than their share.
    #[test]
    fn links_are_bounded_in_length_and_in_sum() {
        let link = |n: usize, length: usize| format!("\x1b]8;;{n}{}\x07x", "a".repeat(length));
        let mut emulator = Emulator::new(size(200, 50), 0);
        for n in 0..10_000 {
            emulator.advance(link(n, 4000).as_bytes());
        }
        assert!(emulator.snapshot().len() < 100_000);
        for n in 0..10_000 {
            emulator.advance(link(n, 2000).as_bytes());
        }
        let snapshot = emulator.snapshot();
        assert!(snapshot.len() <= LARGEST_SNAPSHOT, "{}", snapshot.len());
        // Two links, again and again, are written as often.
        for n in 0..10_000 {
            emulator.advance(link(n % 2, 2000).as_bytes());
        }
        let snapshot = emulator.snapshot();
        assert!(snapshot.len() <= LARGEST_SNAPSHOT, "{}", snapshot.len());
        let text = after(emulator.size(), &snapshot).screen_text();
        assert_eq!(text, emulator.screen_text());
        // Links that are no longer shown make room for others.
        emulator.advance(b"\x1b]8;;\x07\x1bc");
        emulator.advance(link(7, 2000).as_bytes());
        assert!(emulator.snapshot().len() > 2000);
    }

    #[test]
    fn refused_links_come_back_when_there_is_room() {
        let link = |n: usize| format!("\x1b]8;;{n}{}\x07x", "a".repeat(2000));
        let mut emulator = Emulator::new(size(80, 24), 0);
        for n in 0..1000 {
            emulator.advance(link(n).as_bytes());
        }
        emulator.advance(b"\x1b]8;;\x07\x1b[H\x1b[2J");
        for n in 0..100 {
            emulator.advance(link(n).as_bytes());
        }
        emulator.advance(b"\x1b]8;;\x07");
        assert!(emulator.snapshot().len() > 10_000);
    }
}
