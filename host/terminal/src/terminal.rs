mod interned;

use unicode_width::UnicodeWidthChar;

use crate::buffer::{Buffer, SavedCursor};
use crate::cell::{Cell, Style};
use crate::charset::{Charset, Charsets};
use crate::extra::Extra;
use crate::intern::Interner;
use crate::modes::{KeyboardStack, Modes};
use crate::palette::Palette;
use crate::parser::Actions;
use crate::signals::{Parts, Signals};
use crate::size::Size;
use crate::title::Titles;

/// Marks beyond this many bytes in one cell are dropped.
const LONGEST_CLUSTER: usize = 64;

/// Answers that nobody fetches are dropped beyond this.
pub(crate) const MOST_REPLIES: usize = 64 * 1024;

/// The state of a terminal, and what text does to it.
///
/// It follows xterm.js to the cell, since that is what viewers look at: where terminals differ
/// (what erasing keeps, when a line counts as wrapped, what the alternate screen inherits), a
/// viewer that saw every byte and one that was given a snapshot must end up the same.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub size: Size,
    pub primary: Buffer,
    pub alternate: Buffer,
    pub on_alternate: bool,
    pub pen: Style,
    pub charsets: Charsets,
    pub modes: Modes,
    /// Keyboard flags of the primary and of the alternate screen.
    pub keyboard: [KeyboardStack; 2],
    pub titles: Titles,
    pub palette: Palette,
    pub extras: Interner<Extra>,
    /// The sum of the lengths of the links in `extras`.
    link_bytes: usize,
    pub clusters: Interner<Box<str>>,
    /// The last thing was a character, which a combining mark joins and REP repeats.
    pub joins: bool,
    pub replies: Vec<u8>,
    pub signals: Signals,
    /// Of one that comes in parts, those that have come.
    pub notification: Parts,
    /// Work beside that of the buffers.
    pub work: u64,
}

impl Terminal {
    pub fn new(size: Size, scrollback: usize) -> Self {
        Self {
            size,
            primary: Buffer::new(size, scrollback),
            alternate: Buffer::new(size, 0),
            on_alternate: false,
            pen: Style::default(),
            charsets: Charsets::default(),
            modes: Modes::default(),
            keyboard: [KeyboardStack::default(), KeyboardStack::default()],
            titles: Titles::default(),
            palette: Palette::default(),
            extras: Interner::default(),
            link_bytes: 0,
            clusters: Interner::default(),
            joins: false,
            replies: Vec::new(),
            signals: Signals::default(),
            notification: Parts::default(),
            work: 0,
        }
    }

    pub fn active(&self) -> &Buffer {
        if self.on_alternate {
            &self.alternate
        } else {
            &self.primary
        }
    }

    pub fn active_mut(&mut self) -> &mut Buffer {
        if self.on_alternate {
            &mut self.alternate
        } else {
            &mut self.primary
        }
    }

    pub fn keyboard_mut(&mut self) -> &mut KeyboardStack {
        &mut self.keyboard[usize::from(self.on_alternate)]
    }

    /// What erasing leaves behind.
    pub fn blank(&self) -> Cell {
        Cell::empty(self.pen.erased())
    }

    pub fn reply(&mut self, text: &str) {
        if self.replies.len() + text.len() <= MOST_REPLIES {
            self.replies.extend_from_slice(text.as_bytes());
        }
    }

    pub fn resize(&mut self, size: Size) {
        let cols = usize::from(self.size.cols().max(size.cols()));
        self.add_work(cols * (self.primary.rows.len() + self.alternate.rows.len()));
        self.size = size;
        self.primary.resize(size, true);
        self.alternate.resize(size, false);
        let buffer = self.active();
        let pen = self.pen;
        self.joins &= self.last_character().is_some_and(|x| {
            let cell = buffer.row(buffer.y).get(x);
            // The cursor may have been moved into the middle of it.
            cell.has_text() && cell.style == pen && x + cell.width() == buffer.x
        });
    }

    pub fn print_ascii(&mut self, mut text: &[u8]) {
        let charset = self.charsets.current();
        if self.modes.insert || charset != Charset::Ascii {
            for &byte in text {
                self.put(Cell::narrow(charset.map(byte), self.pen), 1);
            }
            return;
        }
        let style = self.pen;
        let blank = self.blank();
        let autowrap = self.modes.autowrap;
        let buffer = self.active_mut();
        while !text.is_empty() {
            if buffer.x >= buffer.cols {
                if autowrap {
                    wrap(buffer, blank);
                } else {
                    buffer.x = buffer.cols - 1;
                    text = &text[text.len() - 1..];
                }
            }
            let (x, cols) = (buffer.x, buffer.cols);
            let (now, later) = text.split_at(text.len().min(cols - x));
            let end = x + now.len();
            let row = buffer.cursor_row();
            row.split_wide(x, Cell::empty(style));
            row.write(x, now.iter().map(|&byte| Cell::ascii(byte, style)));
            if row.get(end).is_spacer() {
                row.set(end, Cell::empty(style));
            }
            buffer.x = end;
            text = later;
        }
        self.joins = true;
    }

    pub fn print(&mut self, c: char) {
        match c.width() {
            // A mark without a character to join is dropped.
            Some(0) if self.joins => self.combine(c),
            Some(0) | None => {}
            Some(2) => self.put(Cell::wide(c, self.pen), 1),
            Some(_) => self.put(Cell::narrow(c, self.pen), 1),
        }
    }

    /// Writes a character so many times. Its look is that of the pen.
    pub fn put(&mut self, cell: Cell, mut count: usize) {
        let style = cell.style;
        let blank = self.blank();
        let Modes {
            autowrap, insert, ..
        } = self.modes;
        let buffer = self.active_mut();
        let cols = buffer.cols;
        let width = cell.width();
        if width > cols {
            return;
        }
        while count > 0 {
            if buffer.x + width > cols {
                let x = buffer.x;
                buffer.cursor_row().split_wide(x, Cell::empty(style));
                if autowrap {
                    if x < cols {
                        buffer.cursor_row().set(x, Cell::empty(style));
                    }
                    wrap(buffer, blank);
                } else {
                    buffer.x = cols - 1;
                    if width == 2 {
                        self.joins = false;
                        return;
                    }
                    // The rest of them ends up in the same place.
                    count = 1;
                }
            }
            let x = buffer.x;
            let fit = count.min((cols - x) / width);
            let end = x + fit * width;
            buffer.x = end;
            buffer.work += if insert { cols } else { end - x } as u64;
            let row = buffer.cursor_row();
            row.split_wide(x, Cell::empty(style));
            if insert {
                row.insert(x, end - x, cols, Cell::empty(style));
            }
            if fit == 1 {
                row.set(x, cell);
                if width == 2 {
                    row.set(x + 1, Cell::spacer(style));
                }
            } else {
                let spacer = Cell::spacer(style);
                let of = |at: usize| {
                    if width == 1 || at.is_multiple_of(2) {
                        cell
                    } else {
                        spacer
                    }
                };
                row.write(x, (0..end - x).map(of));
            }
            if row.get(end).is_spacer() {
                row.set(end, Cell::empty(style));
            }
            count -= fit;
        }
        self.joins = true;
    }

    /// Adds a mark to the character before the cursor.
    fn combine(&mut self, c: char) {
        let Some(x) = self.last_character() else {
            return;
        };
        let buffer = self.active();
        let cell = buffer.row(buffer.y).get(x);
        let mut cluster = self.cell_text(cell);
        if cluster.is_empty() || cluster.len() + c.len_utf8() > LONGEST_CLUSTER {
            return;
        }
        cluster.push(c);
        if let Some(index) = self.intern_cluster(cluster.into()) {
            self.active_mut().cursor_row().get_mut(x).set_cluster(index);
        }
    }

    /// The column of the character that ends at the cursor.
    pub fn last_character(&self) -> Option<usize> {
        let buffer = self.active();
        let before = buffer.x.checked_sub(1)?;
        if buffer.row(buffer.y).get(before).is_spacer() {
            before.checked_sub(1)
        } else {
            Some(before)
        }
    }

    pub fn save_cursor(&mut self) {
        let style = self.pen;
        let charset = self.charsets.current();
        let buffer = self.active_mut();
        buffer.saved = SavedCursor {
            x: buffer.x.min(buffer.cols - 1),
            y: buffer.y,
            style,
            charset,
        };
    }

    /// The underline's colour stays as it is, and so does the link, if the pen was saved with
    /// one or with an underline.
    pub fn restore_cursor(&mut self) {
        let saved = self.active().saved;
        let buffer = self.active_mut();
        buffer.x = saved.x;
        buffer.y = saved.y;
        let mut extra = self.extra(self.pen);
        if self.extra(saved.style).link.is_none() && saved.style.attributes.underline() == 0 {
            extra.link = None;
        }
        self.pen = saved.style;
        self.set_extra(extra);
        self.charsets.set_current(saved.charset);
        self.keep_on_screen();
    }

    /// Ends a pending wrap, and keeps the cursor within the region in origin mode.
    pub fn keep_on_screen(&mut self) {
        self.keep_left_of(usize::from(self.size.cols()) - 1);
    }

    pub fn keep_left_of(&mut self, max_x: usize) {
        let origin = self.modes.origin;
        let buffer = self.active_mut();
        buffer.x = buffer.x.min(max_x);
        buffer.y = if origin {
            buffer.y.clamp(buffer.top, buffer.bottom)
        } else {
            buffer.y.min(buffer.height - 1)
        };
    }

    /// Moves to a position counted from the region's top in origin mode.
    pub fn move_to(&mut self, x: usize, y: usize) {
        let origin = self.modes.origin;
        let buffer = self.active_mut();
        buffer.x = x;
        buffer.y = if origin {
            buffer.top.saturating_add(y)
        } else {
            y
        };
        self.keep_on_screen();
    }

    /// One line down, at the bottom of the region by scrolling.
    pub fn line_feed(&mut self) {
        let blank = self.blank();
        let newline = self.modes.newline;
        let buffer = self.active_mut();
        if newline {
            buffer.x = 0;
        }
        if buffer.y == buffer.bottom {
            buffer.scroll(blank, false);
        } else if buffer.y + 1 < buffer.height {
            buffer.y += 1;
            buffer.cursor_row().wrapped = false;
        }
        if buffer.x >= buffer.cols {
            buffer.x = buffer.cols - 1;
        }
    }

    pub fn enter_alternate(&mut self) {
        if self.on_alternate {
            return;
        }
        let blank = self.blank();
        let (x, y) = (self.primary.x, self.primary.y);
        self.on_alternate = true;
        let buffer = &mut self.alternate;
        for y in 0..buffer.height {
            buffer.clear_row(y, blank);
        }
        buffer.x = x;
        buffer.y = y;
    }

    pub fn leave_alternate(&mut self) {
        if !self.on_alternate {
            return;
        }
        self.on_alternate = false;
        self.primary.x = self.alternate.x;
        self.primary.y = self.alternate.y;
        let fresh = Buffer::new(self.size, 0);
        let left = std::mem::replace(&mut self.alternate, fresh);
        self.alternate.saved = left.saved;
        self.alternate.work = left.work + left.rows.len() as u64;
        self.keep_left_of(usize::from(self.size.cols()));
    }

    /// DECSTR.
    pub fn soft_reset(&mut self) {
        let kept = self.modes;
        self.modes = Modes {
            newline: kept.newline,
            mouse: kept.mouse,
            mouse_encoding: kept.mouse_encoding,
            ..Modes::default()
        };
        self.pen = Style::default();
        self.charsets = Charsets::default();
        let buffer = self.active_mut();
        buffer.top = 0;
        buffer.bottom = buffer.height - 1;
        buffer.saved = SavedCursor::default();
    }

    /// RIS. The title and the palette stay.
    pub fn full_reset(&mut self) {
        let scrollback = self.primary.scrollback_limit();
        let old = std::mem::replace(self, Self::new(self.size, scrollback));
        let rows = old.primary.rows.len() + old.alternate.rows.len();
        self.work = old.work() + rows as u64;
        self.titles = old.titles;
        self.palette = old.palette;
        self.replies = old.replies;
        self.signals = old.signals;
    }
}

/// To the beginning of the next line, which continues this one.
fn wrap(buffer: &mut Buffer, blank: Cell) {
    buffer.x = 0;
    if buffer.y == buffer.bottom {
        buffer.scroll(blank, true);
    } else {
        buffer.y = (buffer.y + 1).min(buffer.height - 1);
        buffer.cursor_row().wrapped = true;
    }
}
