use crate::charset::Charset;
use crate::params::Params;
use crate::parser::Actions;
use crate::terminal::Terminal;

const LF: u8 = 0x0a;
const FF: u8 = 0x0c;

impl Actions for Terminal {
    fn work(&self) -> u64 {
        self.work + self.primary.work + self.alternate.work
    }

    fn add_work(&mut self, amount: usize) {
        self.work += amount as u64;
    }

    fn print_ascii(&mut self, text: &[u8]) {
        self.print_ascii(text);
    }

    fn print(&mut self, c: char) {
        self.print(c);
    }

    fn control(&mut self, code: u8) {
        self.joins = false;
        match code {
            0x07 => self.ring(),
            0x08 => self.backspace(),
            0x09 => self.tab(),
            LF..=FF => self.line_feed(),
            0x0d => self.active_mut().x = 0,
            0x0e => self.charsets.invoke(1),
            0x0f => self.charsets.invoke(0),
            0x84 => self.index(),
            0x85 => self.next_line(),
            0x88 => self.set_tab(),
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        self.joins = false;
        match (intermediates, last) {
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.index(),
            ([], b'E') => self.next_line(),
            ([], b'H') => self.set_tab(),
            ([], b'M') => self.reverse_index(),
            ([], b'Z') => self.report_primary_attributes(),
            ([], b'=') => self.modes.keypad = true,
            ([], b'>') => self.modes.keypad = false,
            ([], b'c') => self.full_reset(),
            ([], b'n' | b'}') => self.charsets.invoke(2),
            ([], b'o' | b'|') => self.charsets.invoke(3),
            ([], b'~') => self.charsets.invoke(1),
            ([b'%'], b'@' | b'G') => {
                self.charsets.invoke(0);
                self.charsets.designate(0, Charset::Ascii);
            }
            ([b'#'], b'8') => self.alignment_pattern(),
            ([set], last) => {
                let level = match set {
                    b'(' => 0,
                    b')' | b'-' => 1,
                    b'*' | b'.' => 2,
                    b'+' => 3,
                    _ => return,
                };
                if let Some(charset) = Charset::from_designator(last) {
                    self.charsets.designate(level, charset);
                }
            }
            _ => {}
        }
    }

    fn csi(&mut self, params: &Params, last: u8) {
        self.obey_csi(params, last);
        self.joins = false;
    }

    fn osc(&mut self, text: &[u8]) {
        self.joins = false;
        if let Ok(text) = std::str::from_utf8(text) {
            self.obey_osc(text);
        }
    }

    fn dcs(&mut self, params: &Params, last: u8, text: &[u8]) {
        self.joins = false;
        match (params.prefix(), params.intermediates(), last) {
            (0, [b'$', 0], b'q') => self.report_setting(text),
            (0, [b'+', 0], b'q') => self.reply("\x1bP0+r\x1b\\"),
            _ => {}
        }
    }
}

impl Terminal {
    fn backspace(&mut self) {
        if !self.modes.reverse_wrap {
            self.keep_on_screen();
            let buffer = self.active_mut();
            buffer.x = buffer.x.saturating_sub(1);
            return;
        }
        self.keep_left_of(usize::from(self.size.cols()));
        let buffer = self.active_mut();
        if buffer.x > 0 {
            buffer.x -= 1;
        } else if (buffer.top + 1..=buffer.bottom).contains(&buffer.y)
            && buffer.cursor_row().wrapped
        {
            buffer.cursor_row().wrapped = false;
            buffer.y -= 1;
            buffer.x = buffer.cols - 1;
            let last = buffer.row(buffer.y).get(buffer.x);
            if last.width() == 1 && !last.has_text() {
                buffer.x = buffer.x.saturating_sub(1);
            }
        }
        self.keep_on_screen();
    }

    fn tab(&mut self) {
        let buffer = self.active_mut();
        if buffer.x < buffer.cols {
            let from = buffer.x;
            buffer.x = buffer.tabs.next(from);
            buffer.work += (buffer.x - from) as u64;
        }
    }

    fn set_tab(&mut self) {
        let buffer = self.active_mut();
        buffer.tabs.set(buffer.x);
    }

    /// IND: down without regard to newline mode.
    fn index(&mut self) {
        self.keep_on_screen();
        let blank = self.blank();
        let buffer = self.active_mut();
        if buffer.y == buffer.bottom {
            buffer.scroll(blank, false);
        } else {
            buffer.y = (buffer.y + 1).min(buffer.height - 1);
        }
        self.keep_on_screen();
    }

    fn next_line(&mut self) {
        self.active_mut().x = 0;
        self.index();
    }

    fn reverse_index(&mut self) {
        self.keep_on_screen();
        let blank = self.blank();
        let buffer = self.active_mut();
        if buffer.y == buffer.top {
            buffer.shift_down(buffer.top, 1, blank);
        } else {
            buffer.y = buffer.y.saturating_sub(1);
            self.keep_on_screen();
        }
    }

    /// DECALN: fills the screen with `E`.
    fn alignment_pattern(&mut self) {
        let mut style = self.pen;
        style.extra = 0;
        style.attributes.simplify_underline();
        let e = crate::cell::Cell::ascii(b'E', style);
        self.move_to(0, 0);
        let buffer = self.active_mut();
        for y in buffer.y..buffer.height {
            buffer.clear_row(y, e);
        }
        self.move_to(0, 0);
    }
}
