use std::sync::atomic::{AtomicBool, Ordering};

use vte::{Params, Parser, Perform};

/// What has to be known of the terminal to leave it well.
#[derive(Debug, Default)]
pub(super) struct ScreenState {
    alternate: AtomicBool,
    palette: AtomicBool,
    middle_of_line: AtomicBool,
}

impl ScreenState {
    /// What a session is left with: the terminal as programs expect to find it, and the cursor on
    /// a line of its own.
    pub(super) fn leave(&self) -> Vec<u8> {
        let mut bytes = self.reset();
        if self.middle_of_line.swap(false, Ordering::Relaxed) {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\x1b[J");
        bytes
    }

    /// What a snapshot begins with: the terminal as programs expect to find it, and nothing on the
    /// screen. From a cursor at any line, `scroll` as the number of rows moves what is above it
    /// into the scrollback.
    pub(super) fn fresh_page(&self, scroll: u16) -> Vec<u8> {
        let mut bytes = self.reset();
        bytes.extend(std::iter::repeat_n(b'\n', scroll.into()));
        bytes.extend_from_slice(b"\x1b[H\x1b[J");
        bytes
    }

    /// Undoes whatever ran in the terminal. Nothing here moves the cursor, except leaving the
    /// alternate screen.
    fn reset(&self) -> Vec<u8> {
        let mut reset = Vec::new();
        // Ends an unfinished sequence and a synchronized update.
        reset.extend_from_slice(b"\x1b\\\x1b[?2026l");
        // Mouse, focus, bracketed paste, theme and size reports.
        for mode in [
            9, 1000, 1002, 1003, 1005, 1006, 1015, 1016, 1004, 2004, 2031, 2048,
        ] {
            reset.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
        }
        // Keys: kitty's protocol, whose stack each screen has for itself, and xterm's.
        const KEYS: &[u8] = b"\x1b[<99u\x1b[>4m";
        reset.extend_from_slice(KEYS);
        if self.alternate.swap(false, Ordering::Relaxed) {
            reset.extend_from_slice(b"\x1b[?1049l");
            reset.extend_from_slice(KEYS);
        }
        // Cursor keys, keypad, insert, new line, reverse video, origin and scroll region (which
        // move the cursor), autowrap, character set, colours and link, cursor shown and its form.
        reset.extend_from_slice(b"\x1b[?1l\x1b>\x1b[4l\x1b[20l\x1b[?5l");
        reset.extend_from_slice(b"\x1b7\x1b[?6l\x1b[r\x1b8\x1b[?7h");
        reset.extend_from_slice(b"\x0f\x1b(B\x1b[0m\x1b]8;;\x1b\\\x1b[?25h\x1b[0 q");
        if self.palette.swap(false, Ordering::Relaxed) {
            reset.extend_from_slice(b"\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\");
        }
        reset
    }
}

/// Follows output on its way to the terminal.
pub(super) struct ScreenWatch {
    parser: Parser,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    alternate: bool,
    palette: bool,
    /// On the main screen, as far as that can be said without knowing the screen.
    middle_of_line: bool,
}

impl ScreenWatch {
    pub(super) fn new() -> ScreenWatch {
        ScreenWatch {
            parser: Parser::new(),
            seen: Seen::default(),
        }
    }

    pub(super) fn advance(&mut self, output: &[u8], state: &ScreenState) {
        self.parser.advance(&mut self.seen, output);
        state
            .alternate
            .store(self.seen.alternate, Ordering::Relaxed);
        if self.seen.palette {
            state.palette.store(true, Ordering::Relaxed);
        }
        state
            .middle_of_line
            .store(self.seen.middle_of_line, Ordering::Relaxed);
    }
}

impl Perform for Seen {
    fn print(&mut self, _: char) {
        self.middle_of_line |= !self.alternate;
    }

    fn execute(&mut self, byte: u8) {
        self.middle_of_line &= self.alternate || byte != b'\n';
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: char) {
        let mut params = params.iter().filter_map(|parameter| parameter.first());
        match (intermediates, action) {
            (b"?", 'h' | 'l') if params.any(|mode| matches!(mode, 47 | 1047 | 1049)) => {
                self.alternate = action == 'h';
            }
            (b"", 'H' | 'f') if !self.alternate => {
                self.middle_of_line = params.nth(1).is_some_and(|column| *column > 1);
            }
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
        let command = params.first().copied().unwrap_or_default();
        self.palette |= matches!(command, b"4" | b"5" | b"10" | b"11" | b"12");
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        if intermediates.is_empty() && byte == b'c' {
            self.alternate = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_after(output: &[&[u8]]) -> String {
        let (mut watch, state) = (ScreenWatch::new(), ScreenState::default());
        for piece in output {
            watch.advance(piece, &state);
        }
        state.leave().escape_ascii().to_string()
    }

    #[test]
    fn the_alternate_screen_is_left_only_from_inside() {
        const LEAVE: &str = "[?1049l";
        assert!(left_after(&[b"\x1b[?10", b"49hx"]).contains(LEAVE));
        assert!(left_after(&[b"\x1b[?1;1049h"]).contains(LEAVE));
        assert!(!left_after(&[b"\x1b[?1049hx\x1b[?1049l"]).contains(LEAVE));
        assert!(!left_after(&[b"\x1b[?1049h\x1bc"]).contains(LEAVE));
        assert!(!left_after(&[b"1049h"]).contains(LEAVE));
    }

    #[test]
    fn colours_are_reset_when_they_were_set() {
        assert!(left_after(&[b"\x1b]11;#102030\x07"]).contains("]111"));
        assert!(!left_after(&[b"\x1b]0;title\x07"]).contains("]111"));
    }

    #[test]
    fn a_line_that_was_begun_is_ended() {
        assert!(left_after(&[b"$ "]).contains(r"\r\n"));
        assert!(!left_after(&[b"exit\r\n"]).contains(r"\r\n"));
        assert!(!left_after(&[b"vim\r\n\x1b[?1049hx"]).contains(r"\r\n"));
        assert!(!left_after(&[b"snapshot\x1b[3;1H"]).contains(r"\r\n"));
        assert!(left_after(&[b"\x1b[3;3H"]).contains(r"\r\n"));
    }
}
