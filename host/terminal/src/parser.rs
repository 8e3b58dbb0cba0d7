use crate::params::Params;

/// What is kept of one unfinished sequence. A longer one is skipped to its end, not obeyed.
const LONGEST_SEQUENCE: usize = 64 * 1024;

/// A run is taken in parts of so many bytes, so that the work of one part is bounded.
const LONGEST_RUN: usize = 1024;

/// Dropped, wherever it stands.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the parser finds in a stream.
pub(crate) trait Actions {
    /// Work done so far, see [`Emulator::work`](crate::Emulator::work).
    fn work(&self) -> u64;
    /// Counts work that the parser does.
    fn add_work(&mut self, amount: usize);
    /// A run of printable ASCII.
    fn print_ascii(&mut self, text: &[u8]);
    /// A printable character beyond ASCII.
    fn print(&mut self, c: char);
    /// A control character, C0 or C1.
    fn control(&mut self, code: u8);
    /// `ESC`, the intermediates, the final byte.
    fn escape(&mut self, intermediates: &[u8], last: u8);
    fn csi(&mut self, params: &Params, last: u8);
    fn osc(&mut self, text: &[u8]);
    fn dcs(&mut self, params: &Params, last: u8, text: &[u8]);
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    Osc,
    DcsHead,
    DcsText,
    /// SOS, PM and APC: skipped.
    Ignored,
}

/// Splits a byte stream into text, controls and sequences, in any pieces.
///
/// It reads UTF-8 first and sequences second, as xterm.js does, and agrees with it on what ends
/// or breaks a sequence: the viewers' terminals must not see a sequence where we see text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parser {
    state: State,
    /// The unfinished sequence from its introducer on, without the controls obeyed inside it.
    sequence: Vec<u8>,
    overlong: bool,
    /// The unfinished sequence was found to be malformed, and no longer needs to be looked at.
    malformed: bool,
    /// The beginning of an unfinished UTF-8 character.
    partial: [u8; 4],
    partial_len: u8,
}

impl Parser {
    /// What a second parser must read to be where this one is.
    pub fn unfinished(&self) -> Vec<u8> {
        let partial = &self.partial[..usize::from(self.partial_len)];
        let one_too_many: &[u8] = if self.overlong { b"x" } else { b"" };
        [&self.sequence, one_too_many, partial].concat()
    }

    pub fn advance(&mut self, bytes: &[u8], actions: &mut impl Actions) {
        self.advance_within(bytes, u64::MAX, actions);
    }

    /// Reads until `actions` have done as much work as `limit` says; answers how many bytes.
    pub fn advance_within(
        &mut self,
        bytes: &[u8],
        limit: u64,
        actions: &mut impl Actions,
    ) -> usize {
        let mut rest = bytes;
        while let Some(&byte) = rest.first()
            && actions.work() < limit
        {
            let before = rest.len();
            let part = &rest[..before.min(LONGEST_RUN)];
            let left = if self.partial_len > 0 {
                self.decode(part, actions)
            } else if byte >= 0x80 {
                self.text(part, actions)
            } else {
                self.run(byte, part, actions)
            };
            let taken = part.len() - left.len();
            actions.add_work(taken);
            rest = &rest[taken..];
        }
        bytes.len() - rest.len()
    }

    /// Takes as many bytes as belong to one run of text or of a sequence; at least one.
    fn run<'a>(&mut self, byte: u8, bytes: &'a [u8], actions: &mut impl Actions) -> &'a [u8] {
        let end = match self.state {
            State::Ground | State::Osc | State::DcsText => 0x7f,
            State::Csi => 0x40,
            State::Escape | State::DcsHead | State::Ignored => 0,
        };
        let run = bytes.iter().position(|b| !(0x20..end).contains(b));
        let (run, rest) = bytes.split_at(run.unwrap_or(bytes.len()));
        if run.is_empty() {
            self.ascii(byte, actions);
            return &bytes[1..];
        }
        if self.state == State::Ground {
            actions.print_ascii(run);
        } else {
            self.keep(run);
        }
        rest
    }

    /// Takes the bytes beyond ASCII that come first; at least one.
    fn text<'a>(&mut self, bytes: &'a [u8], actions: &mut impl Actions) -> &'a [u8] {
        let run = bytes.iter().position(u8::is_ascii);
        let (run, rest) = bytes.split_at(run.unwrap_or(bytes.len()));
        for chunk in run.utf8_chunks() {
            if !chunk.valid().is_empty() {
                // What began before is not continued by a whole character.
                self.partial_len = 0;
            }
            for c in chunk.valid().chars() {
                match c {
                    BYTE_ORDER_MARK => {}
                    '\u{a0}'.. if self.state == State::Ground => actions.print(c),
                    _ => self.character(c, actions),
                }
            }
            let mut invalid = chunk.invalid();
            while !invalid.is_empty() {
                invalid = self.decode(invalid, actions);
            }
        }
        rest
    }

    /// Takes one UTF-8 character, or as much of it as there is; what is no UTF-8 is dropped.
    fn decode<'a>(&mut self, mut bytes: &'a [u8], actions: &mut impl Actions) -> &'a [u8] {
        loop {
            let held = usize::from(self.partial_len);
            let Some(&byte) = bytes.first() else {
                return bytes;
            };
            if held == 0 {
                bytes = &bytes[1..];
                if !(0xc0..0xf8).contains(&byte) {
                    return bytes;
                }
                self.partial[0] = byte;
                self.partial_len = 1;
                continue;
            }
            if !(0x80..0xc0).contains(&byte) {
                self.partial_len = 0;
                return bytes;
            }
            bytes = &bytes[1..];
            self.partial[held] = byte;
            self.partial_len += 1;
            let needed = match self.partial[0] {
                ..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if held + 1 == needed {
                self.partial_len = 0;
                let text = self.partial;
                if let Ok(text) = std::str::from_utf8(&text[..needed]) {
                    for c in text.chars().filter(|c| *c != BYTE_ORDER_MARK) {
                        self.character(c, actions);
                    }
                }
                return bytes;
            }
        }
    }

    fn ascii(&mut self, byte: u8, actions: &mut impl Actions) {
        match byte {
            0x1b => {
                self.end_string(actions);
                self.begin(State::Escape, &[byte]);
            }
            0x18 | 0x1a => {
                let in_text = matches!(self.state, State::Osc | State::DcsText);
                self.ground();
                if !in_text {
                    actions.control(byte);
                }
            }
            0x07 if self.state == State::Osc => {
                self.end_string(actions);
                self.ground();
            }
            0..0x20 => match self.state {
                State::Ground | State::Escape | State::Csi => actions.control(byte),
                State::DcsText => self.keep(&[byte]),
                State::Osc | State::DcsHead | State::Ignored => {}
            },
            0x7f => {
                if self.state == State::Osc {
                    self.keep(&[byte]);
                }
            }
            _ => self.printable(byte, actions),
        }
    }

    fn printable(&mut self, byte: u8, actions: &mut impl Actions) {
        match self.state {
            State::Ground => actions.print_ascii(&[byte]),
            State::Escape => {
                let intermediates = &self.sequence[1..];
                match (byte, intermediates) {
                    (0x20..0x30, _) => self.keep(&[byte]),
                    (b'[', []) => self.begin(State::Csi, b"\x1b["),
                    (b']', []) => self.begin(State::Osc, b"\x1b]"),
                    (b'P', []) => self.begin(State::DcsHead, b"\x1bP"),
                    (b'X' | b'^' | b'_', []) => self.begin(State::Ignored, &[0x1b, byte]),
                    _ => {
                        actions.escape(intermediates, byte);
                        self.ground();
                    }
                }
            }
            State::Csi => {
                if (0x40..0x7f).contains(&byte) {
                    actions.add_work(self.sequence.len());
                    if let Some(params) = self.params() {
                        actions.csi(&params, byte);
                    }
                    self.ground();
                } else {
                    self.keep(&[byte]);
                }
            }
            State::DcsHead => {
                self.keep(&[byte]);
                if (0x40..0x7f).contains(&byte) {
                    self.state = State::DcsText;
                }
            }
            State::Osc | State::DcsText => self.keep(&[byte]),
            State::Ignored => {}
        }
    }

    fn character(&mut self, c: char, actions: &mut impl Actions) {
        let mut buffer = [0; 4];
        let encoded = c.encode_utf8(&mut buffer).as_bytes();
        match u32::from(c) {
            code @ 0x80..0xa0 => self.c1(code as u8, encoded, actions),
            _ => match self.state {
                State::Ground => actions.print(c),
                State::Osc | State::DcsText => self.keep(encoded),
                State::Csi | State::DcsHead => {
                    if !self.is_malformed(actions) {
                        self.ground();
                    }
                }
                _ => self.ground(),
            },
        }
    }

    fn c1(&mut self, code: u8, encoded: &[u8], actions: &mut impl Actions) {
        match code {
            0x90 => self.begin(State::DcsHead, encoded),
            0x98 | 0x9e | 0x9f => self.begin(State::Ignored, encoded),
            0x9b => self.begin(State::Csi, encoded),
            0x9d => self.begin(State::Osc, encoded),
            0x9c => {
                self.end_string(actions);
                self.ground();
            }
            _ => {
                self.ground();
                actions.control(code);
            }
        }
    }

    fn begin(&mut self, state: State, introducer: &[u8]) {
        self.ground();
        self.state = state;
        self.sequence.extend_from_slice(introducer);
    }

    fn ground(&mut self) {
        self.state = State::Ground;
        self.overlong = false;
        self.malformed = false;
        self.sequence.clear();
        self.sequence.shrink_to(256);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST_SEQUENCE - self.sequence.len();
        self.overlong |= bytes.len() > room;
        self.sequence
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Obeys the OSC or DCS that ends here.
    fn end_string(&mut self, actions: &mut impl Actions) {
        if self.overlong {
            return;
        }
        actions.add_work(self.sequence.len());
        let text = self.sequence.get(2..).unwrap_or_default();
        match self.state {
            State::Osc => actions.osc(text),
            State::DcsText => {
                let Some(last) = text.iter().position(|b| (0x40..0x7f).contains(b)) else {
                    return;
                };
                if let Some(params) = Params::parse(&text[..last]) {
                    actions.dcs(&params, text[last], &text[last + 1..]);
                }
            }
            _ => {}
        }
    }

    /// Whether the sequence at hand is malformed, which it stays to its end. One that is not is
    /// looked at once only, as the caller ends it.
    fn is_malformed(&mut self, actions: &mut impl Actions) -> bool {
        if !self.malformed {
            actions.add_work(self.sequence.len());
            self.malformed = self.params().is_none();
        }
        self.malformed
    }

    /// The parameters of the sequence at hand; `None` when it is malformed.
    ///
    /// Every introducer, the C1 ones in UTF-8 included, is two bytes long.
    fn params(&self) -> Option<Params> {
        if self.overlong || self.malformed {
            return None;
        }
        Params::parse(&self.sequence[2..])
    }
}
