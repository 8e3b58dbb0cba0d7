mod detail;
mod lines;

use std::fmt::Write;

use crate::buffer::{Buffer, SavedCursor};
use crate::cell::Style;
use crate::charset::Charset;
use crate::modes::{KeyboardStack, Modes};
use crate::palette::{CURSOR, FOREGROUND};
use crate::parser::Parser;
use crate::terminal::Terminal;
use crate::title::Title;

pub(crate) use detail::Detail;

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
            writer.row(row, 0, row.content_end(), buffer.cols);
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
            self.restored_charset(charsets.current());
        }
    }

    /// A charset that is in none of the sets came with a saved cursor, of this screen or the other.
    fn restored_charset(&mut self, charset: Charset) {
        let terminal = self.terminal;
        if terminal.active().saved.charset == charset {
            self.put("\x1b8");
        } else if terminal.on_alternate {
            // Its own screen cannot be left without losing it: as long as nothing else is invoked,
            // this is the same.
            self.designate(terminal.charsets.level(), charset);
        } else {
            self.put("\x1b[?1047h\x1b8\x1b[?1047l");
        }
        self.put("\x1b[m\x1b]8;;\x1b\\");
        self.style = Style::default();
    }
}
