use super::Writer;
use crate::buffer::Buffer;
use crate::cell::{Attributes, Cell, Style, Text};
use crate::row::Row;
use crate::sgr;

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
            last.map_or(first, |last| last + 1)
        };
        let is_hidden = self.terminal.on_alternate && std::ptr::eq(buffer, &self.terminal.primary);
        let end = if is_hidden && !self.detail.hidden {
            first
        } else {
            end
        };
        if buffer.rows[first].wrapped && buffer.height > 1 {
            // The line that it continued is gone: continue another one, and delete that.
            let cols = buffer.cols;
            self.format(format_args!("\x1b[{cols}G  \x1b[H\x1b[M\x1b[X"));
        }
        // Where the reading terminal's cursor is.
        let mut at = 0;
        for index in first..end {
            if self.out.len() > self.longest {
                return;
            }
            let row = &buffer.rows[index];
            let start = if index == first {
                0
            } else if row.wrapped {
                self.wrap(&buffer.rows[index - 1], row, at, buffer)
            } else {
                self.without_background();
                self.put("\r\n");
                0
            };
            let below = buffer.rows.get(index + 1);
            let end = if below.is_some_and(|below| leaves_gap(row, below, buffer.cols)) {
                buffer.cols - 1
            } else {
                row.content_end()
            };
            at = self.row(row, start, end);
        }
        self.set_style(Style::default());
        self.tabs(buffer);
        if (buffer.top, buffer.bottom) != (0, buffer.height - 1) {
            let (top, bottom) = (buffer.top + 1, buffer.bottom + 1);
            self.format(format_args!("\x1b[{top};{bottom}r"));
        }
    }

    /// Goes on to the line below in a way that marks it as wrapped; answers the column reached.
    fn wrap(&mut self, above: &Row, row: &Row, at: usize, buffer: &Buffer) -> usize {
        let last = buffer.cols - 1;
        let left_over = self.look(above, last);
        let first = self.look(row, 0);
        let wide_did_not_fit = leaves_gap(above, row, buffer.cols);
        if first.has_text() && at == buffer.cols || wide_did_not_fit {
            if wide_did_not_fit {
                self.forward(at, last);
            }
            self.cell(first);
            if first.style.erased() != Style::default() {
                self.set_style(Style::default());
                self.put("\x1b[K");
            }
            return first.width();
        }
        self.set_style(Style::default());
        let filled = at == buffer.cols;
        if !filled {
            self.forward(at, last);
            self.put(" ");
        }
        self.put(" \r");
        if !filled && buffer.height > 1 {
            self.format(format_args!("\x1b[A\x1b[{}G", buffer.cols));
            self.set_style(left_over.style.erased());
            self.put("\x1b[X\x1b[B\r");
        }
        if !first.has_text() {
            self.set_style(Style::default());
            self.put("\x1b[X");
        }
        0
    }

    /// Writes a line's cells; answers the column where the cursor ends up.
    pub(super) fn row(&mut self, row: &Row, start: usize, end: usize) -> usize {
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
                self.put(" ");
                x += 1;
                at = x;
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

/// Whether a wide character begins `row` because the last column of `above` was too narrow for
/// it. Writing it there again leaves the same gap.
fn leaves_gap(above: &Row, row: &Row, cols: usize) -> bool {
    let first = row.get(0);
    row.wrapped && first.is_wide() && above.get(cols - 1) == Cell::empty(first.style)
}
