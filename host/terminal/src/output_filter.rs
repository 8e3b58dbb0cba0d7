#[cfg(test)]
mod tests;

use std::borrow::Cow;

const BEL: u8 = 0x07;
const ENQ: u8 = 0x05;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
/// U+0080 to U+009F, which terminals obey as `ESC` and a letter, begin with it in UTF-8.
const C1: u8 = 0xc2;

/// Longer sequences are left out.
const LONGEST_CONTROL: usize = 1024;
const LONGEST_STRING: usize = 16 * 1024;

/// Takes out of output what would make a person's terminal do more than show it: answer, which
/// types for the person, also after they have left; change the clipboard; move or resize windows;
/// print; or speak in another way than before.
///
/// What shows something passes, by name; what is not known is left out. The daemon's emulator has
/// answered the program's questions already. A picture (sixel, kitty, iTerm2) is left out as well:
/// the emulator, and so every snapshot, is without it.
#[derive(Debug, Default)]
pub struct OutputFilter {
    state: State,
    /// The beginning of what may be left out.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After the first byte of a character that may be a control.
    C1,
    /// After `ESC`, with what came behind it up to now.
    Escape,
    /// After `ESC [`.
    Control,
    /// In an OSC, which is looked at as a whole.
    Command,
    /// In a string that no terminal is to get.
    Unwanted,
    /// After an `ESC` inside one of the two strings; it may be its end.
    StringEscape { wanted: bool },
    /// The same after the first byte of a character that may be a control.
    StringC1 { wanted: bool },
}

impl OutputFilter {
    /// A filter for one terminal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads output, in any pieces, and gives back what a terminal may see of it.
    pub fn filter<'a>(&mut self, output: &'a [u8]) -> Cow<'a, [u8]> {
        let is_plain = |byte: &u8| !matches!(*byte, ESC | ENQ | C1);
        if self.state == State::Text && output.iter().all(is_plain) {
            return Cow::Borrowed(output);
        }
        let mut kept = Vec::with_capacity(self.held.len() + output.len());
        for byte in output {
            self.take(*byte, &mut kept);
        }
        Cow::Owned(kept)
    }

    fn take(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match self.state {
            State::Text => self.text(byte, kept),
            State::C1 => match byte {
                0x80..=0x9f => {
                    self.held.push(byte);
                    self.begin(byte - 0x40, kept);
                }
                _ => {
                    kept.append(&mut self.held);
                    self.state = State::Text;
                    self.text(byte, kept);
                }
            },
            State::Escape | State::Control => self.sequence(byte, kept),
            State::Command | State::Unwanted => self.string(byte, kept),
            State::StringEscape { wanted } => match byte {
                b'\\' => self.end_string(wanted, b"\x1b\\", kept),
                _ => {
                    self.restart(State::Escape);
                    self.held.push(ESC);
                    self.sequence(byte, kept);
                }
            },
            State::StringC1 { wanted } => match byte {
                0x9c => self.end_string(wanted, &[C1, byte], kept),
                0x80..=0x9f => {
                    self.restart(State::Text);
                    self.held.extend([C1, byte]);
                    self.begin(byte - 0x40, kept);
                }
                _ => {
                    self.state = string_state(wanted);
                    self.hold_text(C1);
                    self.string(byte, kept);
                }
            },
        }
    }

    fn text(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match byte {
            ENQ => {}
            ESC | C1 => {
                self.held.push(byte);
                self.state = if byte == ESC {
                    State::Escape
                } else {
                    State::C1
                };
            }
            _ => kept.push(byte),
        }
    }

    /// In an escape sequence or control sequence.
    fn sequence(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match byte {
            CAN | SUB => {
                self.restart(State::Text);
                kept.push(byte);
            }
            ESC => {
                self.restart(State::Escape);
                self.held.push(byte);
            }
            ENQ | 0x7f => {}
            // Terminals obey other controls at once, in the middle of the sequence.
            ..0x20 => kept.push(byte),
            0x80.. => {
                self.restart(State::Text);
                self.text(byte, kept);
            }
            _ if self.state == State::Escape && self.held == [ESC] && byte >= 0x30 => {
                self.held.push(byte);
                self.begin(byte, kept);
            }
            _ => {
                if self.held.len() < LONGEST_CONTROL {
                    self.held.push(byte);
                }
                let first_final = if self.state == State::Escape {
                    0x30
                } else {
                    0x40
                };
                if byte >= first_final {
                    self.end_sequence(kept);
                }
            }
        }
    }

    /// After `ESC` and a letter, or the control that stands for both; it is held.
    fn begin(&mut self, letter: u8, kept: &mut Vec<u8>) {
        self.state = match letter {
            b'[' => State::Control,
            b']' => State::Command,
            // DCS, SOS, PM, APC, and screen's title.
            b'P' | b'X' | b'^' | b'_' | b'k' => State::Unwanted,
            _ => {
                self.state = State::Text;
                // DECID, a question.
                if letter == b'Z' {
                    self.held.clear();
                }
                kept.append(&mut self.held);
                return;
            }
        };
        if self.state == State::Unwanted {
            self.held.clear();
        }
    }

    fn end_sequence(&mut self, kept: &mut Vec<u8>) {
        let body = without_introducer(&self.held);
        let passes = self.held.len() < LONGEST_CONTROL
            && match self.state {
                State::Escape => escape_passes(body),
                _ => control_passes(body),
            };
        if passes {
            kept.append(&mut self.held);
        }
        self.restart(State::Text);
    }

    fn string(&mut self, byte: u8, kept: &mut Vec<u8>) {
        let wanted = self.state == State::Command;
        match byte {
            CAN | SUB => {
                self.restart(State::Text);
                kept.push(byte);
            }
            BEL if wanted => self.end_string(wanted, &[BEL], kept),
            ESC => self.state = State::StringEscape { wanted },
            C1 => self.state = State::StringC1 { wanted },
            ..0x20 => {}
            _ => self.hold_text(byte),
        }
    }

    fn hold_text(&mut self, byte: u8) {
        if self.state == State::Command {
            self.held.push(byte);
            if self.held.len() > LONGEST_STRING {
                // This never passes, and its end is still waited for.
                self.held.truncate(2);
                self.held.push(b'?');
            }
        }
    }

    fn end_string(&mut self, wanted: bool, end: &[u8], kept: &mut Vec<u8>) {
        if wanted && command_passes(without_introducer(&self.held)) {
            kept.append(&mut self.held);
            kept.extend_from_slice(end);
        }
        self.restart(State::Text);
    }

    fn restart(&mut self, state: State) {
        self.held.clear();
        self.state = state;
    }
}

fn string_state(wanted: bool) -> State {
    if wanted {
        State::Command
    } else {
        State::Unwanted
    }
}

/// What follows `ESC [`, `ESC ]` or `ESC`, or one of the characters that stand for these.
fn without_introducer(held: &[u8]) -> &[u8] {
    match held {
        [ESC, b'[' | b']', body @ ..] | [C1, _, body @ ..] | [ESC, body @ ..] => body,
        _ => held,
    }
}

/// Character sets and forms of lines; not the way in which bytes become characters, nor that in
/// which the terminal sends controls.
fn escape_passes(body: &[u8]) -> bool {
    matches!(
        body,
        [b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/' | b'#', ..] | b"%G" | b" F"
    )
}

/// Whether a control sequence only shows something, or sets how keys and the mouse are sent.
fn control_passes(body: &[u8]) -> bool {
    let Some((last, rest)) = body.split_last() else {
        return false;
    };
    let parameters = rest.iter().take_while(|byte| matches!(byte, 0x30..0x40));
    let (parameters, intermediates) = rest.split_at(parameters.count());
    let (mark, numbers) = match parameters.split_first() {
        Some((mark @ b'<'..=b'?', numbers)) => (Some(*mark), numbers),
        _ => (None, parameters),
    };
    let is_well_formed = numbers.iter().all(|byte| matches!(byte, b'0'..=b';'))
        && intermediates.iter().all(|byte| matches!(byte, 0x20..0x30));
    is_well_formed
        && match (mark, intermediates, last) {
            // The stack of titles.
            (None, [], b't') => matches!(number(numbers), 22 | 23),
            (None, [], b'@'..=b'P' | b'S'..=b'X' | b'Z' | b'^' | b'`'..=b'b') => true,
            (None, [], b'd'..=b'h' | b'l' | b'm' | b'r' | b's' | b'u') => true,
            // Not the mode 2, which makes a VT52 of the terminal.
            (Some(b'?'), [], b'h' | b'l' | b's' | b'r') => numbers
                .split(|byte| *byte == b';')
                .all(|mode| number(mode) != 2),
            (Some(b'?'), [], b'J' | b'K' | b'W') => true,
            (Some(b'>'), [], b'm' | b'n' | b'p' | b'u') => true,
            (Some(b'<' | b'='), [], b'u') => true,
            (None, b" ", b'@' | b'A' | b'q') => true,
            (None, b"!", b'p') => true,
            (None, b"\"", b'q') => true,
            (None, b"#", b'p' | b'q' | b'{' | b'}') => true,
            (None, b"$", b'r' | b't' | b'v' | b'x' | b'z' | b'{') => true,
            (None, b"'", b'}' | b'~') => true,
            (None, b"*", b'x') => true,
            _ => false,
        }
}

/// The first of some numbers.
fn number(numbers: &[u8]) -> u64 {
    let digits = numbers.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

/// Titles, links, colours and progress.
fn command_passes(body: &[u8]) -> bool {
    let mut fields = body.split(|byte| *byte == b';');
    let code = fields.next().unwrap_or_default();
    match code {
        b"0" | b"1" | b"2" | b"8" | b"104" | b"105" => true,
        b"4" | b"5" | [b'1', b'0'..=b'9'] => fields.all(|field| field.first() != Some(&b'?')),
        [b'1', b'1', b'0'..=b'9'] => true,
        b"9" => fields.next() == Some(b"4"),
        _ => false,
    }
}
