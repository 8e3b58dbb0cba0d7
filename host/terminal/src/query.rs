use crate::cell::Attributes;
use crate::modes::MouseTracking;
use crate::sgr;
use crate::terminal::Terminal;

const NOT_RECOGNIZED: u8 = 0;
const PERMANENTLY_SET: u8 = 3;
const PERMANENTLY_RESET: u8 = 4;

fn state(on: bool) -> u8 {
    if on { 1 } else { 2 }
}

/// The answers to a program's questions. Nothing that a program wrote is ever sent back (no
/// titles), so that output cannot become input.
impl Terminal {
    /// DA1: a VT220 with colour.
    pub fn report_primary_attributes(&mut self) {
        self.reply("\x1b[?62;22c");
    }

    /// DA2: as xterm.js answers; programs derive features from the version.
    pub fn report_secondary_attributes(&mut self, param: i32) {
        if param == 0 {
            self.reply("\x1b[>0;276;0c");
        }
    }

    /// DA3.
    pub fn report_tertiary_attributes(&mut self, param: i32) {
        if param == 0 {
            self.reply("\x1bP!|00000000\x1b\\");
        }
    }

    /// XTVERSION.
    pub fn report_version(&mut self, param: i32) {
        if param == 0 {
            self.reply(concat!(
                "\x1bP>|agentd(",
                env!("CARGO_PKG_VERSION"),
                ")\x1b\\"
            ));
        }
    }

    /// DSR and CPR.
    pub fn report_status(&mut self, param: i32) {
        match param {
            5 => self.reply("\x1b[0n"),
            6 => {
                let (row, column) = self.reported_position();
                self.reply(&format!("\x1b[{row};{column}R"));
            }
            _ => {}
        }
    }

    /// DECXCPR.
    pub fn report_private_status(&mut self, param: i32) {
        if param == 6 {
            let (row, column) = self.reported_position();
            self.reply(&format!("\x1b[?{row};{column}R"));
        }
    }

    fn reported_position(&self) -> (usize, usize) {
        let buffer = self.active();
        let top = if self.modes.origin { buffer.top } else { 0 };
        let row = buffer.y.saturating_sub(top) + 1;
        (row, (buffer.x + 1).min(buffer.cols))
    }

    pub fn report_size(&mut self) {
        let (rows, cols) = (self.size.rows(), self.size.cols());
        self.reply(&format!("\x1b[8;{rows};{cols}t"));
    }

    /// The kitty keyboard query.
    pub fn report_keyboard(&mut self) {
        let flags = self.keyboard_mut().flags();
        self.reply(&format!("\x1b[?{flags}u"));
    }

    /// DECRQM.
    pub fn report_mode(&mut self, mode: i32) {
        let state = match mode {
            2 => PERMANENTLY_RESET,
            4 => state(self.modes.insert),
            12 => PERMANENTLY_SET,
            20 => state(self.modes.newline),
            _ => NOT_RECOGNIZED,
        };
        self.reply(&format!("\x1b[{mode};{state}$y"));
    }

    /// DECRQM for private modes.
    pub fn report_private_mode(&mut self, mode: i32) {
        let state = if let Some(flag) = self.modes.flag(mode) {
            state(*flag)
        } else if let Some(tracking) = MouseTracking::from_mode(mode) {
            state(self.modes.mouse == tracking)
        } else {
            match mode {
                6 => state(self.modes.origin),
                8 => PERMANENTLY_SET,
                67 => PERMANENTLY_RESET,
                47 | 1047 | 1049 => state(self.on_alternate),
                1048 => state(true),
                1005 | 1006 | 1015 | 1016 => state(self.modes.mouse_encoding == Some(mode)),
                _ => NOT_RECOGNIZED,
            }
        };
        self.reply(&format!("\x1b[?{mode};{state}$y"));
    }

    /// DECRQSS.
    pub fn report_setting(&mut self, setting: &[u8]) {
        let value = match setting {
            b"m" => sgr::parameters(self.pen, self.extra(self.pen).underline_color),
            b"r" => {
                let buffer = self.active();
                format!("{};{}", buffer.top + 1, buffer.bottom + 1)
            }
            b" q" => self.modes.cursor_style.max(1).to_string(),
            b"\"q" => u8::from(self.pen.attributes.has(Attributes::PROTECTED)).to_string(),
            b"\"p" => "62;1".to_string(),
            _ => {
                self.reply("\x1bP0$r\x1b\\");
                return;
            }
        };
        let setting = String::from_utf8_lossy(setting);
        self.reply(&format!("\x1bP1$r{value}{setting}\x1b\\"));
    }
}
