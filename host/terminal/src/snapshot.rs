use std::fmt::Write;

use crate::buffer::{Buffer, SavedCursor};
use crate::cell::{Attributes, Cell, Style, Text};
use crate::charset::Charset;
use crate::modes::{KeyboardStack, Modes};
use crate::palette::{CURSOR, FOREGROUND};
use crate::parser::Parser;
use crate::row::Row;
use crate::sgr;
use crate::terminal::Terminal;
use crate::title::Title;

/// How much of a screen's look is written: less where all of it would be too long. Its text is
/// always written, but for combining marks at the very end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Detail {
    /// So many cells share the look of the first one of them; 0 for none at all.
    cells: usize,
    /// Links and the underlines' own colours.
    links: bool,
    marks: bool,
    /// The primary screen under the alternate one.
    hidden: bool,
}

impl Detail {
    pub const ALL: Self = Self {
        cells: 1,
        links: true,
        marks: true,
        hidden: true,
    };

    /// All there is, then less and less.
    pub const STEPS: [Self; 8] = [
        Self::ALL,
        Self::looks(1),
        Self::looks(4),
        Self::looks(16),
        Self::looks(64),
        Self::looks(0),
        Self {
            marks: false,
            ..Self::looks(0)
        },
        Self {
            marks: false,
            hidden: false,
            ..Self::looks(0)
        },
    ];

    const fn looks(cells: usize) -> Self {
        Self {
            cells,
            links: false,
            marks: true,
            hidden: true,
        }
    }
}

/// Writes the bytes that bring any terminal of this size to this state, if they are no more than
/// `longest`.
///
/// The order matters: a reset, the lines of the primary screen, what belongs to that screen,
/// then the alternate screen in the same way if it is shown, then the modes, which would
/// disturb the drawing, and the cursor, which nearly everything moves. The last character is
/// written once more where that is the only way to restore what it left behind: a pending
/// wrap, or the chance to be joined by a combining mark or repeated.
pub(crate) fn write(
    terminal: &Terminal,
    parser: &Parser,
    scrollback: usize,
    detail: Detail,
    longest: usize,
) -> Option<Vec<u8>> {
    let mut writer = Writer {
        scrollback,
        detail,
        longest,
        ..Writer::new(terminal)
    };
    writer.reset();
    writer.titles();
    writer.palette();
    writer.hidden_alternate();
    writer.screen(&terminal.primary);
    writer.keyboard(&terminal.keyboard[0]);
    if terminal.on_alternate {
        writer.place(terminal.primary.saved);
        writer.private_mode(1049, true);
        writer.ascii();
        writer.set_style(Style::default());
        writer.put("\x1b[2J\x1b[H");
        writer.screen(&terminal.alternate);
        writer.saved(terminal.alternate.saved);
        writer.keyboard(&terminal.keyboard[1]);
    } else {
        writer.saved(terminal.primary.saved);
    }
    writer.modes();
    writer.cursor();
    let mut bytes = writer.out.into_bytes();
    bytes.extend(parser.unfinished());
    (bytes.len() <= longest).then_some(bytes)
}

/// How many lines of the scrollback take about `room` bytes together.
pub(crate) fn scrollback_within(terminal: &Terminal, room: usize) -> usize {
    let mut writer = Writer::new(terminal);
    let buffer = &terminal.primary;
    let lines = buffer.rows.range(..buffer.base()).rev();
    lines
        .take_while(|row| {
            writer.put("\r\n");
            writer.row(row, 0, row.content_end());
            writer.out.len() <= room
        })
        .count()
}

struct Writer<'a> {
    terminal: &'a Terminal,
    out: String,
    /// The pen of the terminal that reads this.
    style: Style,
    /// How many lines above the screen are written.
    scrollback: usize,
    detail: Detail,
    /// Nothing more has to be written beyond this.
    longest: usize,
}

impl<'a> Writer<'a> {
    fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            out: String::new(),
            style: Style::default(),
            scrollback: 0,
            detail: Detail::ALL,
            longest: usize::MAX,
        }
    }

    /// A cell with as much of its look as is written.
    fn look(&self, row: &Row, x: usize) -> Cell {
        let cell = row.get(x);
        match self.detail.cells {
            1 => cell,
            0 => cell.styled(Style::default()),
            cells => cell.styled(row.get(x - x % cells).style),
        }
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn format(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn private_mode(&mut self, mode: i32, on: bool) {
        let last = if on { 'h' } else { 'l' };
        self.format(format_args!("\x1b[?{mode}{last}"));
    }

    /// RIS, and what RIS leaves alone in xterm.js. Drawing is held back from here on.
    fn reset(&mut self) {
        self.put("\x1bc\x1b[?2026h\x1b[20l\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07");
    }

    fn titles(&mut self) {
        let titles = &self.terminal.titles;
        self.title(2, &titles.window);
        self.title(1, &titles.icon);
    }

    fn title(&mut self, code: u8, title: &Title) {
        for pushed in &title.pushed {
            self.format(format_args!("\x1b]{code};{pushed}\x1b\\\x1b[22;{code}t"));
        }
        let text = &title.text;
        self.format(format_args!("\x1b]{code};{text}\x1b\\"));
    }

    fn palette(&mut self) {
        for (index, color) in self.terminal.palette.changed() {
            match index {
                FOREGROUND..=CURSOR => {
                    let code = index - FOREGROUND + 10;
                    self.format(format_args!("\x1b]{code};{color}\x1b\\"));
                }
                _ => self.format(format_args!("\x1b]4;{index};{color}\x1b\\")),
            }
        }
    }

    /// What is left of an alternate screen that is not shown.
    fn hidden_alternate(&mut self) {
        let terminal = self.terminal;
        let saved = terminal.alternate.saved;
        let keyboard = &terminal.keyboard[1];
        if terminal.on_alternate
            || saved == SavedCursor::default() && *keyboard == KeyboardStack::default()
        {
            return;
        }
        self.private_mode(1049, true);
        self.saved(saved);
        self.keyboard(keyboard);
        self.private_mode(1049, false);
    }

    fn keyboard(&mut self, stack: &KeyboardStack) {
        let states = stack.pushed().iter().copied().chain([stack.flags()]);
        for (index, flags) in states.enumerate() {
            if index > 0 {
                self.format(format_args!("\x1b[>{flags}u"));
            } else if flags != 0 {
                self.format(format_args!("\x1b[={flags}u"));
            }
        }
    }

    /// The lines of a screen and of its scrollback, its tab stops and its region.
    fn screen(&mut self, buffer: &Buffer) {
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
    fn row(&mut self, row: &Row, start: usize, end: usize) -> usize {
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

    fn cell(&mut self, cell: Cell) {
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

    fn set_style(&mut self, mut style: Style) {
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

    fn tabs(&mut self, buffer: &Buffer) {
        if buffer.tabs.is_default() {
            return;
        }
        self.put("\x1b[3g");
        for x in (0..buffer.cols).filter(|&x| buffer.tabs.is_stop(x)) {
            self.format(format_args!("\x1b[{}G\x1bH", x + 1));
        }
    }

    fn saved(&mut self, saved: SavedCursor) {
        if saved != SavedCursor::default() {
            self.place(saved);
            self.put("\x1b7");
            self.ascii();
            self.set_style(Style::default());
        }
    }

    /// Brings the cursor to where it was saved, with the pen and the charset saved with it.
    fn place(&mut self, saved: SavedCursor) {
        self.go_to(saved.x, saved.y);
        self.set_style(saved.style);
        if saved.charset != Charset::Ascii {
            self.designate(0, saved.charset);
        }
    }

    fn go_to(&mut self, x: usize, y: usize) {
        self.format(format_args!("\x1b[{};{}H", y + 1, x + 1));
    }

    fn ascii(&mut self) {
        self.designate(0, Charset::Ascii);
    }

    fn designate(&mut self, level: usize, charset: Charset) {
        let set = ['(', ')', '*', '+'][level];
        let designator = char::from(charset.designator());
        self.format(format_args!("\x1b{set}{designator}"));
    }

    /// All modes but the charsets; those of insertion and origin change what follows.
    fn modes(&mut self) {
        let (mut modes, mut fresh) = (self.terminal.modes, Modes::default());
        for mode in Modes::FLAGS {
            // The cursor stays hidden in xterm.js after a reset.
            let always = mode == 25;
            match (modes.flag(mode), fresh.flag(mode)) {
                (Some(on), Some(fresh)) if *on != *fresh || always => match mode {
                    66 => self.put("\x1b="),
                    2026 => {}
                    _ => self.private_mode(mode, *on),
                },
                _ => {}
            }
        }
        if let Some(mode) = modes.mouse.mode() {
            self.private_mode(mode, true);
        }
        if let Some(mode) = modes.mouse_encoding {
            self.private_mode(mode, true);
        }
        if modes.modify_other_keys != 0 {
            self.format(format_args!("\x1b[>4;{}m", modes.modify_other_keys));
        }
        if modes.cursor_style != 0 {
            self.format(format_args!("\x1b[{} q", modes.cursor_style));
        }
        if modes.newline {
            self.put("\x1b[20h");
        }
        if modes.insert {
            self.put("\x1b[4h");
        }
        if modes.origin {
            self.private_mode(6, true);
        }
        if !modes.synchronized {
            self.private_mode(2026, false);
        }
    }

    fn cursor(&mut self) {
        let terminal = self.terminal;
        let buffer = terminal.active();
        let Buffer { x, y, cols, .. } = *buffer;
        let row = buffer.row(y);
        let shown_y = if terminal.modes.origin {
            y - buffer.top
        } else {
            y
        };
        let again = terminal
            .last_character()
            .filter(|_| terminal.joins || x == cols);
        if terminal.joins || terminal.charsets.is_restored() {
            // The character comes out of these sets unchanged, whichever way it went in.
            self.charsets();
        }
        match again {
            None => self.go_to(x, shown_y),
            Some(start) => {
                let cell = self.look(row, start);
                self.go_to(start, shown_y);
                if terminal.modes.insert {
                    self.format(format_args!("\x1b[{}P", x - start));
                }
                if cell.has_text() {
                    self.cell(cell);
                } else {
                    self.set_style(cell.style);
                    self.put(" ");
                    let blank = terminal.is_erased(cell);
                    if blank && !row.wrapped && (0..cols).all(|x| row.get(x) == cell) {
                        self.put("\x1b[2K");
                    }
                }
            }
        }
        self.set_style(terminal.pen);
        if !terminal.joins {
            if again.is_some() {
                // Any control will do, so that nothing joins the character.
                self.put("\0");
            }
            if !terminal.charsets.is_restored() {
                self.charsets();
            }
        }
    }

    fn charsets(&mut self) {
        let charsets = self.terminal.charsets;
        for (level, charset) in charsets.sets().into_iter().enumerate() {
            if charset != Charset::Ascii {
                self.designate(level, charset);
            }
        }
        match charsets.level() {
            1 => self.put("\x0e"),
            2 => self.put("\x1bn"),
            3 => self.put("\x1bo"),
            _ => {}
        }
        if charsets.is_restored() {
            self.put("\x1b8\x1b[m\x1b]8;;\x1b\\");
            self.style = Style::default();
        }
    }
}

/// Whether a wide character begins `row` because the last column of `above` was too narrow for
/// it. Writing it there again leaves the same gap.
fn leaves_gap(above: &Row, row: &Row, cols: usize) -> bool {
    let first = row.get(0);
    row.wrapped && first.is_wide() && above.get(cols - 1) == Cell::empty(first.style)
}
