use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use alacritty_terminal::Term;
use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::{Cursor, Dimensions};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, TermMode};
use alacritty_terminal::vte::ansi::{
    CharsetIndex, Color, CursorShape, NamedColor, Processor, StandardCharset,
};

use crate::{Emulator, SCROLLBACK, Size};

/// Everything of its state that it shows: cells, cursors, modes, colours; the title, from its
/// events. The scroll region, tab stops, the charset in use, the stack of keyboard modes and an
/// unfinished sequence are private.
pub struct Alacritty {
    term: Term<Title>,
    parser: Processor,
    title: Title,
}

#[derive(Clone, Default)]
struct Title(Rc<RefCell<String>>);

impl EventListener for Title {
    fn send_event(&self, event: Event) {
        match event {
            Event::Title(title) => *self.0.borrow_mut() = title,
            Event::ResetTitle => self.0.borrow_mut().clear(),
            _ => {}
        }
    }
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.rows.into()
    }

    fn screen_lines(&self) -> usize {
        self.rows.into()
    }

    fn columns(&self) -> usize {
        self.cols.into()
    }
}

impl Emulator for Alacritty {
    fn new(size: Size) -> Self {
        let config = Config {
            scrolling_history: SCROLLBACK,
            kitty_keyboard: true,
            ..Config::default()
        };
        let title = Title::default();
        Self {
            term: Term::new(config, &size, title.clone()),
            parser: Processor::new(),
            title,
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
    }

    fn resize(&mut self, size: Size) {
        self.term.resize(size);
    }

    fn snapshot(mut self) -> Vec<u8> {
        // What waits for the end of a synchronized update.
        self.parser.stop_sync(&mut self.term);
        let mode = *self.term.mode();
        let mut out = String::new();
        if mode.contains(TermMode::ALT_SCREEN) {
            let alternate = screen(&self.term);
            self.term.swap_alt();
            out += &screen(&self.term);
            out += "\x1b[?1049h";
            out += &alternate;
        } else {
            out += &screen(&self.term);
        }
        write_colors(&mut out, &self.term);
        let style = self.term.cursor_style();
        let shape = match style.shape {
            CursorShape::Underline => 3,
            CursorShape::Beam => 5,
            _ => 1,
        };
        if style != Config::default().default_cursor_style {
            write!(out, "\x1b[{} q", shape + u8::from(!style.blinking)).unwrap();
        }
        let title = self.title.0.borrow();
        if !title.is_empty() {
            write!(out, "\x1b]2;{title}\x07").unwrap();
        }
        write_modes(&mut out, mode);
        out.into_bytes()
    }
}

const MODES: &[(TermMode, &str)] = &[
    (TermMode::APP_CURSOR, "?1"),
    (TermMode::MOUSE_REPORT_CLICK, "?1000"),
    (TermMode::MOUSE_DRAG, "?1002"),
    (TermMode::MOUSE_MOTION, "?1003"),
    (TermMode::FOCUS_IN_OUT, "?1004"),
    (TermMode::UTF8_MOUSE, "?1005"),
    (TermMode::SGR_MOUSE, "?1006"),
    (TermMode::BRACKETED_PASTE, "?2004"),
    (TermMode::INSERT, "4"),
    (TermMode::LINE_FEED_NEW_LINE, "20"),
];

fn write_modes(out: &mut String, mode: TermMode) {
    for (flag, number) in MODES {
        if mode.contains(*flag) {
            write!(out, "\x1b[{number}h").unwrap();
        }
    }
    for (flag, number) in [(TermMode::SHOW_CURSOR, "?25"), (TermMode::LINE_WRAP, "?7")] {
        if !mode.contains(flag) {
            write!(out, "\x1b[{number}l").unwrap();
        }
    }
    if mode.contains(TermMode::APP_KEYPAD) {
        out.push_str("\x1b=");
    }
    let keyboard = [
        TermMode::DISAMBIGUATE_ESC_CODES,
        TermMode::REPORT_EVENT_TYPES,
        TermMode::REPORT_ALTERNATE_KEYS,
        TermMode::REPORT_ALL_KEYS_AS_ESC,
        TermMode::REPORT_ASSOCIATED_TEXT,
    ];
    let bits = (0..)
        .zip(keyboard)
        .map(|(bit, flag)| u8::from(mode.contains(flag)) << bit);
    match bits.sum::<u8>() {
        0 => {}
        flags => write!(out, "\x1b[>{flags}u").unwrap(),
    }
}

/// The scrollback and the rows of the screen that is shown, then its cursors.
fn screen<T: EventListener>(term: &Term<T>) -> String {
    let grid = term.grid();
    let mut out = String::from("\x1b[H");
    let mut pen = Cell::default();
    for line in grid.topmost_line().0..=grid.bottommost_line().0 {
        let row = &grid[Line(line)];
        let wraps = row[grid.last_column()].flags.contains(Flags::WRAPLINE);
        let cells = (0..grid.columns()).map(|x| &row[Column(x)]);
        // Of a row that does not wrap, the blank end is left as it is.
        let end = match wraps {
            true => grid.columns(),
            false => cells
                .clone()
                .rposition(|cell| *cell != Cell::default())
                .map_or(0, |x| x + 1),
        };
        for cell in cells.take(end) {
            let spacers = Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER;
            if cell.flags.intersects(spacers) {
                continue;
            }
            write_pen(&mut out, &mut pen, cell);
            out.push(cell.c);
            out.extend(cell.zerowidth().into_iter().flatten());
        }
        if !wraps && line < grid.bottommost_line().0 {
            write_pen(&mut out, &mut pen, &Cell::default());
            out.push_str("\r\n");
        }
    }
    write_cursor(&mut out, &mut pen, term, &grid.saved_cursor);
    out.push_str("\x1b7");
    write_cursor(&mut out, &mut pen, term, &grid.cursor);
    out
}

fn write_cursor<T>(out: &mut String, pen: &mut Cell, term: &Term<T>, cursor: &Cursor<Cell>) {
    let (line, column) = (cursor.point.line, cursor.point.column);
    write!(out, "\x1b[{};{}H", line.0 + 1, column.0 + 1).unwrap();
    if cursor.input_needs_wrap {
        let cell = &term.grid()[line][column];
        let wide = cell.flags.contains(Flags::WIDE_CHAR_SPACER);
        let cell = match wide {
            true => &term.grid()[line][column - 1],
            false => cell,
        };
        if wide {
            out.push('\x08');
        }
        write_pen(out, pen, cell);
        out.push(cell.c);
        out.extend(cell.zerowidth().into_iter().flatten());
    }
    write_pen(out, pen, &cursor.template);
    let charsets = [
        CharsetIndex::G0,
        CharsetIndex::G1,
        CharsetIndex::G2,
        CharsetIndex::G3,
    ];
    for (index, place) in charsets.into_iter().zip("()*+".chars()) {
        let charset = match cursor.charsets[index] {
            StandardCharset::Ascii => 'B',
            StandardCharset::SpecialCharacterAndLineDrawing => '0',
        };
        write!(out, "\x1b{place}{charset}").unwrap();
    }
}

const LOOKS: &[(Flags, &str)] = &[
    (Flags::BOLD, ";1"),
    (Flags::DIM, ";2"),
    (Flags::ITALIC, ";3"),
    (Flags::UNDERLINE, ";4"),
    (Flags::DOUBLE_UNDERLINE, ";4:2"),
    (Flags::UNDERCURL, ";4:3"),
    (Flags::DOTTED_UNDERLINE, ";4:4"),
    (Flags::DASHED_UNDERLINE, ";4:5"),
    (Flags::INVERSE, ";7"),
    (Flags::HIDDEN, ";8"),
    (Flags::STRIKEOUT, ";9"),
];

fn write_pen(out: &mut String, pen: &mut Cell, cell: &Cell) {
    let look = |cell: &Cell| {
        let looks = LOOKS
            .iter()
            .fold(Flags::empty(), |all, (flag, _)| all | *flag);
        (cell.flags & looks, cell.fg, cell.bg, cell.underline_color())
    };
    if look(pen) != look(cell) {
        out.push_str("\x1b[0");
        for (_, code) in LOOKS.iter().filter(|(flag, _)| cell.flags.contains(*flag)) {
            out.push_str(code);
        }
        write_color(out, 30, cell.fg);
        write_color(out, 40, cell.bg);
        if let Some(color) = cell.underline_color() {
            write_color(out, 50, color);
        }
        out.push('m');
    }
    if pen.hyperlink() != cell.hyperlink() {
        let link = cell.hyperlink();
        let uri = link.as_ref().map_or("", |link| link.uri());
        // It gives a link without a name one that ends so.
        let id = link.as_ref().map_or("", |link| link.id());
        let id = match id.ends_with("_alacritty") || id.is_empty() {
            true => String::new(),
            false => format!("id={id}"),
        };
        write!(out, "\x1b]8;{id};{uri}\x07").unwrap();
    }
    *pen = cell.clone();
}

/// `base` is 30 for the text, 40 for the background and 50 for the underline.
fn write_color(out: &mut String, base: u8, color: Color) {
    match color {
        Color::Named(NamedColor::Foreground | NamedColor::Background) => Ok(()),
        Color::Named(name) if name as usize >= 16 => Ok(()),
        Color::Named(name) if base < 50 && name as u8 >= 8 => {
            write!(out, ";{}", base + 60 + name as u8 - 8)
        }
        Color::Named(name) if base < 50 => write!(out, ";{}", base + name as u8),
        Color::Named(name) => write!(out, ";{};5;{}", base + 8, name as u8),
        Color::Indexed(index) => write!(out, ";{};5;{index}", base + 8),
        Color::Spec(rgb) => write!(out, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b),
    }
    .unwrap();
}

fn write_colors<T>(out: &mut String, term: &Term<T>) {
    for index in 0..259 {
        let Some(rgb) = term.colors()[index] else {
            continue;
        };
        let color = format!("rgb:{:02x}/{:02x}/{:02x}", rgb.r, rgb.g, rgb.b);
        match index {
            0..256 => write!(out, "\x1b]4;{index};{color}\x07"),
            special => write!(out, "\x1b]{};{color}\x07", special - 256 + 10),
        }
        .unwrap();
    }
}
