use crate::parser::{Actions, Parser};
use crate::signals::Signals;
use crate::size::Size;
use crate::snapshot::{self, Detail};
use crate::terminal::Terminal;

/// No [`snapshot`](Emulator::snapshot) is longer, in bytes: the text of the largest screen, with
/// four bytes a cell, and all else that there can be.
pub const LARGEST_SNAPSHOT: usize = 5 << 20;

/// Scrollback is added to a snapshot as long as it is no longer than this, about.
const WITH_SCROLLBACK: usize = 64 << 10;

/// A terminal without a window: it reads a program's output, knows the screen that it makes,
/// and answers the program's questions.
#[derive(Debug, Clone)]
pub struct Emulator {
    parser: Parser,
    terminal: Terminal,
}

impl Emulator {
    /// A new terminal that keeps up to `scrollback` lines above the screen.
    pub fn new(size: Size, scrollback: usize) -> Self {
        Self {
            parser: Parser::default(),
            terminal: Terminal::new(size, scrollback),
        }
    }

    /// Reads output, in any pieces.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.parser.advance(bytes, &mut self.terminal);
    }

    /// Reads output until `work` is done, and answers how many bytes that were: at least one, as
    /// a single sequence is never cut, however much it asks for.
    pub fn advance_within(&mut self, bytes: &[u8], work: u64) -> usize {
        let limit = self.work().saturating_add(work.max(1));
        self.parser.advance_within(bytes, limit, &mut self.terminal)
    }

    /// The work done so far: bytes read, and cells and lines touched. One byte costs no more than
    /// a few times the cells that the emulator holds.
    pub fn work(&self) -> u64 {
        self.terminal.work()
    }

    /// The answers due since the last call, for the program's input.
    pub fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.terminal.replies)
    }

    /// What the program has said beside its screen since the last call.
    pub fn take_signals(&mut self) -> Signals {
        std::mem::take(&mut self.terminal.signals)
    }

    pub(crate) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn parser(&self) -> &Parser {
        &self.parser
    }

    pub(crate) fn put_back_replies(&mut self, replies: Vec<u8>) {
        self.terminal.replies = replies;
    }

    pub(crate) fn scrollback(&self) -> usize {
        self.terminal.primary.scrollback_limit()
    }

    /// The current size.
    pub fn size(&self) -> Size {
        self.terminal.size
    }

    /// Changes the size; text that was wrapped at the margin is wrapped anew.
    pub fn resize(&mut self, size: Size) {
        if size != self.terminal.size {
            self.terminal.resize(size);
        }
    }

    /// The window title that the program set; empty if none.
    pub fn title(&self) -> &str {
        &self.terminal.titles.window.text
    }

    /// Whether the program asked for pastes to be marked as such.
    pub fn bracketed_paste(&self) -> bool {
        self.terminal.modes.bracketed_paste
    }

    /// Whether the program asked for the arrows' other form (DECCKM).
    pub fn application_keys(&self) -> bool {
        self.terminal.modes.cursor_keys
    }

    /// Whether the program shows the alternate screen.
    pub fn alternate_screen(&self) -> bool {
        self.terminal.on_alternate
    }

    /// Column and row of the cursor, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        let buffer = self.terminal.active();
        let x = buffer.x.min(buffer.cols - 1);
        (x as u16, buffer.y as u16)
    }

    /// The text of the screen, a line for each row, without trailing blanks.
    pub fn screen_text(&self) -> Vec<String> {
        (0..self.terminal.active().height)
            .map(|y| self.row_text(y))
            .collect()
    }

    /// The last lines of the screen that are not empty, the upper one first.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let rows = (0..self.terminal.active().height).rev();
        let lines = rows
            .map(|y| self.row_text(y))
            .filter(|line| !line.is_empty());
        let mut last: Vec<String> = lines.take(count).collect();
        last.reverse();
        last
    }

    fn row_text(&self, y: usize) -> String {
        self.terminal.row_text(self.terminal.active().row(y))
    }

    /// A [`snapshot`](Self::snapshot) with neither looks nor scrollback, for a
    /// [`Transcript`](crate::Transcript); none of a screen that takes more than `longest` bytes.
    pub fn plain_snapshot(&self, longest: usize) -> Option<Vec<u8>> {
        snapshot::write(&self.terminal, &self.parser, 0, Detail::PLAIN, longest)
    }

    /// Bytes that bring a terminal of the same size to this state, whatever state it was in:
    /// both screens and the scrollback, cursors, modes, title, colours, and the sequence that
    /// the output so far ends in the middle of.
    ///
    /// They begin with a reset and hold the drawing back until they are through. They ask
    /// nothing, so replaying them has no answers.
    ///
    /// Of the scrollback there is as much as makes 64 KiB with the screen. A screen that would
    /// take more than [`LARGEST_SNAPSHOT`] loses its links first, then its looks, cell by cell,
    /// but never its text.
    pub fn snapshot(&self) -> Vec<u8> {
        self.snapshot_with_detail().0
    }

    /// Whether nothing of the screen is missing is the second half.
    pub(crate) fn snapshot_with_detail(&self) -> (Vec<u8>, bool) {
        let write = |scrollback, detail| {
            let (terminal, parser) = (&self.terminal, &self.parser);
            snapshot::write(terminal, parser, scrollback, detail, LARGEST_SNAPSHOT)
        };
        for detail in Detail::STEPS {
            let Some(bytes) = write(0, detail) else {
                continue;
            };
            let room = WITH_SCROLLBACK.saturating_sub(bytes.len());
            let scrollback = snapshot::scrollback_within(&self.terminal, room);
            let longer = (scrollback > 0).then(|| write(scrollback, detail));
            return (longer.flatten().unwrap_or(bytes), detail == Detail::ALL);
        }
        unreachable!("the text of the largest screen is shorter than the longest snapshot")
    }

    /// Forgets what is above the screen, and gives back what memory can be given.
    pub(crate) fn forget_scrollback(&mut self) {
        self.terminal.primary.clear_scrollback();
        for buffer in [&mut self.terminal.primary, &mut self.terminal.alternate] {
            buffer.rows.shrink_to_fit();
            buffer.rows.iter_mut().for_each(crate::row::Row::shrink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_title_cursor_and_modes_are_reported() {
        let mut emulator = Emulator::new(Size::new(10, 3).unwrap(), 10);
        emulator.advance("one\r\n漢e\u{301} x\x1b]2;title\x07\x1b[?2004h".as_bytes());
        assert_eq!(emulator.screen_text(), ["one", "漢e\u{301} x", ""]);
        assert_eq!(emulator.last_lines(1), ["漢e\u{301} x"]);
        assert_eq!(emulator.last_lines(9), ["one", "漢e\u{301} x"]);
        assert_eq!(emulator.title(), "title");
        assert_eq!(emulator.cursor(), (5, 1));
        assert!(emulator.bracketed_paste());
        emulator.advance(b"\x1b[?1049h");
        assert!(emulator.alternate_screen());
        assert_eq!(emulator.screen_text(), ["", "", ""]);
    }

    #[test]
    fn put_away_and_back() {
        let mut emulator = Emulator::new(Size::new(20, 5).unwrap(), 100);
        for n in 0..50 {
            emulator.advance(format!("\x1b[3{}mline {n}\r\n", n % 8).as_bytes());
        }
        emulator.advance(b"\x1b[c\x1b[?1003;1006hand\x1b[");
        let before = emulator.snapshot();
        let away = emulator.put_away();
        assert_eq!(away.snapshot(), before);
        let mut back = away.restore();
        assert_eq!(back.snapshot(), before);
        assert_eq!(back.take_replies(), b"\x1b[?62;22c");
    }
}
