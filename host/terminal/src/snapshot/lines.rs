use super::Writer;
use crate::buffer::Buffer;
use crate::cell::{Attributes, Cell, Style, Text};
use crate::row::Row;
use crate::sgr;

/// Any wide character.
const WIDE: &str = "漢";

/// The lines of a screen, cell by cell.
impl Writer<'_> {
    /// A cell with as much of its look as is written.
    pub(super) fn look(&self, row: &Row, x: usize) -> Cell {
        let cell = row.get(x);
        match self.detail.cells {
            1 => cell,
            0 => cell.styled(Style::default()),
            cells => cell.styled(row.get(x - x % cells).style),
        }
    }

    /// The lines of a screen and of its scrollback, its tab stops and its region.
    pub(super) fn screen(&mut self, buffer: &Buffer) {
        let first = buffer.base().saturating_sub(self.scrollback);
        let end = if buffer.base() > first {
            buffer.rows.len()
        } else {
            let used = |row: &Row| row.content_end() > 0 || row.wrapped;
            let last = buffer.rows.iter().rposition(used);
            last.map_or(first, |last| match buffer.rows.get(last + 1) {
                Some(below) if self.leaves_gap(&buffer.rows[last], below, buffer.cols) => last + 2,
                _ => last + 1,
            })
        };
        let is_hidden = self.terminal.on_alternate && std::ptr::eq(buffer, &self.terminal.primary);
        let end = if is_hidden && !self.detail.hidden {
            first
        } else {
            end
        };
        if buffer.rows[first].wrapped {
            // The line that it continued is gone: continue another one, and delete that.
            let cols = buffer.cols;
            self.format(format_args!("\x1b[{cols}G  "));
            self.put(match buffer.height {
                // It has left the screen by itself; of the primary one it is kept above.
                1 if std::ptr::eq(buffer, &self.terminal.primary) => "\r\x1b[X\x1b[3J",
                1 => "\r\x1b[X",
                _ => "\x1b[H\x1b[M\x1b[X",
            });
        }
        // Where the reading terminal's cursor is.
        let mut at = 0;
        for index in first..end {
            if self.out.len() > self.longest {
                return;
            }
            let row = &buffer.rows[index];
            let start = match index.checked_sub(1).filter(|_| index > first) {
                None => 0,
                Some(above) => self.go_on(&buffer.rows[above], row, at, buffer),
            };
            let below = buffer.rows.get(index + 1).filter(|_| index + 1 < end);
            let columns = match below {
                Some(below) if self.leaves_gap(row, below, buffer.cols) => buffer.cols - 1,
                _ => row.content_end(),
            };
            at = self.row(row, start, columns, buffer.cols);
        }
        self.set_style(Style::default());
        self.tabs(buffer);
        if (buffer.top, buffer.bottom) != (0, buffer.height - 1) {
            let (top, bottom) = (buffer.top + 1, buffer.bottom + 1);
            self.format(format_args!("\x1b[{top};{bottom}r"));
        }
    }

    /// Goes on to the line below; answers the column reached.
    fn go_on(&mut self, above: &Row, row: &Row, at: usize, buffer: &Buffer) -> usize {
        if row.wrapped {
            return self.wrap(above, row, at, buffer);
        }
        if self.leaves_gap(above, row, buffer.cols) {
            self.gap(above, at, buffer.cols);
            // With that it continues nothing.
            self.put("\r\x1b[K");
            return 0;
        }
        self.without_background();
        self.put("\r\n");
        0
    }

    /// Has a wide character find no room in the last column, which leaves that empty, and begins the
    /// next line.
    fn gap(&mut self, row: &Row, at: usize, cols: usize) {
        self.forward(at, cols - 1);
        let style = self.look(row, cols - 1).style;
        self.set_style(style);
        self.put(WIDE);
        self.set_style(Style::default());
    }

    /// Whether the last column is empty in a way that only a wide character leaves it, or that may not
    /// be written over as the line goes on below.
    fn leaves_gap(&self, row: &Row, below: &Row, cols: usize) -> bool {
        let last = self.look(row, cols - 1);
        let is_empty = !last.has_text() && !last.is_spacer();
        is_empty && cols > 1 && (below.wrapped || !self.terminal.is_erased(last))
    }

    /// Goes on to the line below in a way that marks it as wrapped; answers the column reached.
    fn wrap(&mut self, above: &Row, row: &Row, at: usize, buffer: &Buffer) -> usize {
        let last = buffer.cols - 1;
        let first = self.look(row, 0);
        if last == 0 && at == 0 {
            // Too narrow for what leaves a gap.
            self.set_style(Style::default());
            self.put(" ");
            if self.terminal.is_erased(self.look(above, 0)) {
                self.set_style(self.look(above, 0).style.erased());
                self.put("\x1b[1K");
                self.set_style(Style::default());
            }
        }
        if at == buffer.cols || last == 0 {
            if first.has_text() {
                self.cell(first);
                self.only_on_it(first);
                return first.width();
            }
            self.set_style(Style::default());
            self.put(" \r\x1b[X");
            return 0;
        }
        let gap = self.look(above, last);
        if first.is_wide() && gap == Cell::empty(first.style) {
            self.forward(at, last);
            self.cell(first);
            self.only_on_it(first);
            return first.width();
        }
        self.gap(above, at, buffer.cols);
        let count = match gap.style.erased() == Style::default() {
            true => 2,
            false => buffer.cols,
        };
        self.format(format_args!("\r\x1b[{count}X"));
        0
    }

    /// The line that was scrolled in for this character has its background no further than there.
    fn only_on_it(&mut self, first: Cell) {
        if first.style.erased() != Style::default() {
            self.set_style(Style::default());
            self.put("\x1b[K");
        }
    }

    /// Writes a line's cells; answers the column where the cursor ends up.
    pub(super) fn row(&mut self, row: &Row, start: usize, end: usize, cols: usize) -> usize {
        let mut at = start;
        let mut x = start;
        while x < end {
            let cell = self.look(row, x);
            let same = || (x..end).take_while(|&x| self.look(row, x) == cell).count();
            if cell == Cell::BLANK {
                x += same();
            } else if cell.has_text() {
                self.forward(at, x);
                self.cell(cell);
                x += cell.width();
                at = x;
            } else if self.terminal.is_erased(cell) {
                let count = same();
                self.forward(at, x);
                self.set_style(cell.style.erased());
                self.format(format_args!("\x1b[{count}X"));
                at = x;
                x += count;
            } else {
                self.forward(at, x);
                self.set_style(cell.style);
                x += 1;
                at = x;
                if at < cols {
                    // What is left of a wide character whose other half was written over.
                    let right = at + 1;
                    self.format(format_args!("{WIDE}\x1b[{right}G \x1b[{right}G"));
                    self.set_style(Style::default());
                    self.put("\x1b[X");
                } else {
                    self.put(" ");
                }
            }
        }
        at
    }

    fn forward(&mut self, from: usize, to: usize) {
        match to - from {
            0 => {}
            1 => self.put("\x1b[C"),
            count => self.format(format_args!("\x1b[{count}C")),
        }
    }

    pub(super) fn cell(&mut self, cell: Cell) {
        self.set_style(cell.style);
        match cell.text() {
            Text::Empty => {}
            Text::Char(c) => self.out.push(c),
            Text::Cluster(_) => {
                let text = self.terminal.cell_text(cell);
                let end = match self.detail.marks {
                    true => text.len(),
                    false => text.chars().next().map_or(0, char::len_utf8),
                };
                self.put(&text[..end]);
            }
        }
    }

    /// Lines scrolled in get the pen's background.
    fn without_background(&mut self) {
        if self.style.erased() != Style::default() {
            self.set_style(Style::default());
        }
    }

    pub(super) fn set_style(&mut self, mut style: Style) {
        if !self.detail.links {
            style.extra = 0;
        }
        if style == self.style {
            return;
        }
        let old = self.style;
        self.style = style;
        let (old_extra, extra) = (self.terminal.extra(old), self.terminal.extra(style));
        let protected = |style: Style| style.attributes.has(Attributes::PROTECTED);
        let (was, is) = (
            sgr::parameters(old, old_extra.underline_color),
            sgr::parameters(style, extra.underline_color),
        );
        let sgr_changes = was != is || protected(old) && !protected(style);
        if sgr_changes {
            let parameters = if is == "0" { "" } else { &is };
            self.format(format_args!("\x1b[{parameters}m"));
        }
        if protected(style) && (sgr_changes || !protected(old)) {
            self.put("\x1b[1\"q");
        }
        if extra.link != old_extra.link {
            match &extra.link {
                None => self.put("\x1b]8;;\x1b\\"),
                Some(link) => {
                    let uri = &link.uri;
                    if link.id.is_empty() {
                        self.format(format_args!("\x1b]8;;{uri}\x1b\\"));
                    } else {
                        let id = &link.id;
                        self.format(format_args!("\x1b]8;id={id};{uri}\x1b\\"));
                    }
                }
            }
        }
    }
}
