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

#[cfg(test)]
mod tests {
    use crate::emulator::Emulator;
    use crate::size::Size;
    use crate::terminal::MOST_REPLIES;

    #[track_caller]
    fn check(output: &str, answers: &str) {
        let mut emulator = Emulator::new(Size::default(), 0);
        emulator.advance(output.as_bytes());
        let replies = emulator.take_replies();
        assert_eq!(String::from_utf8_lossy(&replies), answers);
        assert!(emulator.take_replies().is_empty());
    }

    #[test]
    fn device_attributes_are_answered() {
        check("\x1b[c\x1b[0c\x1bZ", "\x1b[?62;22c\x1b[?62;22c\x1b[?62;22c");
        check("\x1b[>c", "\x1b[>0;276;0c");
        check("\x1b[=c", "\x1bP!|00000000\x1b\\");
        check(
            "\x1b[>q",
            concat!("\x1bP>|agentd(", env!("CARGO_PKG_VERSION"), ")\x1b\\"),
        );
    }

    #[test]
    fn the_cursor_position_is_answered() {
        check("\x1b[5n", "\x1b[0n");
        check("\x1b[3;7H\x1b[6n", "\x1b[3;7R");
        check("\x1b[3;7H\x1b[?6n", "\x1b[?3;7R");
        check("\x1b[2;5r\x1b[?6h\x1b[3;1H\x1b[6n", "\x1b[3;1R");
        check(&format!("{}\x1b[6n", "x".repeat(80)), "\x1b[1;80R");
        check("\x1b[18t", "\x1b[8;24;80t");
    }

    #[test]
    fn modes_are_answered() {
        check(
            "\x1b[?2004$p\x1b[?2004h\x1b[?2004$p",
            "\x1b[?2004;2$y\x1b[?2004;1$y",
        );
        check(
            "\x1b[?1002h\x1b[?1002$p\x1b[?1000$p",
            "\x1b[?1002;1$y\x1b[?1000;2$y",
        );
        check(
            "\x1b[?1006h\x1b[?1006$p\x1b[?1049$p",
            "\x1b[?1006;1$y\x1b[?1049;2$y",
        );
        check(
            "\x1b[?2027$p\x1b[4$p\x1b[99$p",
            "\x1b[?2027;0$y\x1b[4;2$y\x1b[99;0$y",
        );
        check(
            "\x1b[?u\x1b[>5u\x1b[?u\x1b[<u\x1b[?u",
            "\x1b[?0u\x1b[?5u\x1b[?0u",
        );
    }

    #[test]
    fn settings_are_answered() {
        check(
            "\x1b[1;38;5;9;4:3m\x1bP$qm\x1b\\",
            "\x1bP1$r0;1;4:3;38;5;9m\x1b\\",
        );
        check("\x1b[2;9r\x1bP$qr\x1b\\", "\x1bP1$r2;9r\x1b\\");
        check("\x1b[6 q\x1bP$q q\x1b\\", "\x1bP1$r6 q\x1b\\");
        check(
            "\x1bP$qz\x1b\\\x1bP+q544e\x1b\\",
            "\x1bP0$r\x1b\\\x1bP0+r\x1b\\",
        );
    }

    #[test]
    fn colours_are_answered() {
        check("\x1b]4;1;?\x07", "\x1b]4;1;rgb:cccc/0000/0000\x1b\\");
        check(
            "\x1b]11;#102030\x07\x1b]11;?\x1b\\",
            "\x1b]11;rgb:1010/2020/3030\x1b\\",
        );
        check(
            "\x1b]10;?;?;?\x07",
            "\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]12;rgb:ffff/ffff/ffff\x1b\\",
        );
    }

    /// Attack: a program has its own text typed to it as an answer. Then: no answer has text of the
    /// program in it.
    #[test]
    fn answers_contain_no_text_of_the_program_and_are_bounded() {
        check(
            "\x1b]2;rm -rf\x07\x1b[21t\x1b[20t\x1b]52;c;?\x07\x1b]l\x1b\\",
            "",
        );
        check(
            &"\x1b[c".repeat(100_000),
            &"\x1b[?62;22c".repeat(MOST_REPLIES / 9),
        );
    }
}
