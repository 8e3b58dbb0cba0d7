use super::detach_keys::DetachKeys;
use super::key::{Key, Meaning, of_byte, of_control_sequence};

const PASTE_END: &[u8] = b"\x1b[201~";
/// No terminal sends a key in more bytes than this.
const LONGEST_SEQUENCE: usize = 64;

/// Looks for the detach keys in keyboard input, and holds back what may be the beginning of them.
pub(super) struct DetachScanner {
    wanted: DetachKeys,
    /// A control sequence whose end has not arrived, and how much of it was passed on already.
    unfinished: Vec<u8>,
    passed_on: usize,
    /// Input that is a beginning of the detach keys, key by key.
    held: Vec<Held>,
    /// While a paste goes on: how much of its end mark was seen last.
    paste: Option<usize>,
}

struct Held {
    bytes: Vec<u8>,
    /// None: a part that does not count, such as the release of a key.
    key: Option<Key>,
}

/// What becomes of a piece of input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// For the program.
    pub(super) input: Vec<u8>,
    /// The detach keys were pressed; what came after them is dropped.
    pub(super) detached: bool,
}

impl DetachScanner {
    pub(super) fn new(wanted: DetachKeys) -> DetachScanner {
        DetachScanner {
            wanted,
            unfinished: Vec::new(),
            passed_on: 0,
            held: Vec::new(),
            paste: None,
        }
    }

    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut scanned = Scanned::default();
        let mut input = std::mem::take(&mut self.unfinished);
        input.extend_from_slice(bytes);
        let mut rest = &input[..];
        while !rest.is_empty() && !scanned.detached {
            if self.paste.is_some() {
                rest = self.pasted(rest, &mut scanned);
                continue;
            }
            let Some((length, meaning)) = next(rest) else {
                self.postpone(rest, &mut scanned);
                break;
            };
            let (piece, behind) = rest.split_at(length);
            let piece = &piece[self.passed_on.min(length)..];
            let known = std::mem::take(&mut self.passed_on) == 0;
            self.take(piece, meaning, known, &mut scanned);
            rest = behind;
        }
        scanned
    }

    /// Whether input waits for what comes next.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty() || self.unfinished.len() > self.passed_on
    }

    /// Gives up waiting: the input that was held back.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let mut input: Vec<u8> = self.held.drain(..).flat_map(|held| held.bytes).collect();
        input.extend(self.unfinished.drain(..).skip(self.passed_on));
        self.passed_on = 0;
        input
    }

    /// Passes on up to the end of the paste.
    fn pasted<'a>(&mut self, rest: &'a [u8], scanned: &mut Scanned) -> &'a [u8] {
        let mut seen = self.paste.unwrap_or(0);
        for (index, byte) in rest.iter().enumerate() {
            seen = if *byte == PASTE_END[seen] {
                seen + 1
            } else {
                usize::from(*byte == PASTE_END[0])
            };
            if seen == PASTE_END.len() {
                self.paste = None;
                let (paste, behind) = rest.split_at(index + 1);
                scanned.input.extend_from_slice(paste);
                return behind;
            }
        }
        self.paste = Some(seen);
        scanned.input.extend_from_slice(rest);
        &[]
    }

    /// Keeps the beginning of a control sequence. `ESC` and `ESC [` alone are keys, too (Escape,
    /// Alt-[): the program gets them at once.
    fn postpone(&mut self, beginning: &[u8], scanned: &mut Scanned) {
        self.unfinished = beginning.to_vec();
        if beginning.len() <= 2 {
            scanned.input.extend(self.release_held());
            scanned.input.extend(&beginning[self.passed_on..]);
            self.passed_on = beginning.len();
        }
    }

    fn take(&mut self, piece: &[u8], meaning: Meaning, known: bool, scanned: &mut Scanned) {
        let key = match meaning {
            Meaning::Key(key) if known => Some(key),
            Meaning::Nothing if !self.held.is_empty() => None,
            Meaning::PasteBegins => {
                self.paste = Some(0);
                scanned.input.extend(self.release_held());
                scanned.input.extend_from_slice(piece);
                return;
            }
            _ => {
                if meaning != Meaning::Nothing {
                    scanned.input.extend(self.release_held());
                }
                scanned.input.extend_from_slice(piece);
                return;
            }
        };
        self.held.push(Held {
            bytes: piece.to_vec(),
            key,
        });
        while !self.is_beginning() {
            scanned.input.extend(self.held.remove(0).bytes);
        }
        let keys = self.held.iter().filter(|held| held.key.is_some()).count();
        if keys == self.wanted.keys().len() {
            self.held.clear();
            scanned.detached = true;
        }
    }

    /// Whether the held keys are the first of the wanted ones.
    fn is_beginning(&self) -> bool {
        match self.held.first() {
            None => true,
            Some(first) if first.key.is_none() => false,
            Some(_) => {
                let keys = self.held.iter().filter_map(|held| held.key);
                let wanted = self.wanted.keys().iter().copied();
                let count = keys.clone().count();
                count <= self.wanted.keys().len() && keys.eq(wanted.take(count))
            }
        }
    }

    fn release_held(&mut self) -> Vec<u8> {
        self.held.drain(..).flat_map(|held| held.bytes).collect()
    }
}

/// The length and meaning of the first key in `input`; None when its end has not arrived.
fn next(input: &[u8]) -> Option<(usize, Meaning)> {
    match input {
        [0x1b] | [0x1b, b'['] => None,
        [0x1b, b'[', body @ ..] => {
            let end = body.iter().position(|byte| !matches!(byte, 0x20..=0x3f));
            match end {
                Some(end) if matches!(body[end], 0x40..=0x7e) => {
                    Some((end + 3, of_control_sequence(&body[..=end])))
                }
                // Not a control sequence after all.
                Some(_) => Some((2, Meaning::Other)),
                None if input.len() >= LONGEST_SEQUENCE => Some((input.len(), Meaning::Other)),
                None => None,
            }
        }
        [0x1b, b'O', 0x21..=0x7e, ..] => Some((3, Meaning::Other)),
        // Alt with a key, or Escape and then a control character.
        [0x1b, 0x21..=0x7e, ..] => Some((2, Meaning::Other)),
        [byte, ..] => Some((1, of_byte(*byte))),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(keys: &str) -> DetachScanner {
        DetachScanner::new(keys.parse().unwrap())
    }

    /// What arrives at the program from these reads, `!` for detached, `?` for held back.
    #[track_caller]
    fn check(keys: &str, reads: &[&[u8]], expected: &[u8]) {
        let mut scanner = scanner(keys);
        let mut arrived = Vec::new();
        for read in reads {
            let scanned = scanner.scan(read);
            arrived.extend(scanned.input);
            if scanned.detached {
                arrived.push(b'!');
                break;
            }
        }
        if scanner.is_holding() {
            arrived.push(b'?');
        }
        assert_eq!(
            arrived.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    const DEFAULT: &str = "ctrl-p,ctrl-q";

    #[test]
    fn the_keys_detach_together_or_apart() {
        check(DEFAULT, &[b"\x10\x11"], b"!");
        check(DEFAULT, &[b"ls\x10", b"\x11rest"], b"ls!");
    }

    #[test]
    fn a_beginning_that_goes_on_otherwise_is_passed_on() {
        check(DEFAULT, &[b"\x10"], b"?");
        check(DEFAULT, &[b"\x10", b"x"], b"\x10x");
        check(DEFAULT, &[b"\x10\x1b[A"], b"\x10\x1b[A");
        check(DEFAULT, &[b"\x11\x10"], b"\x11?");
    }

    #[test]
    fn an_overlapping_beginning_is_found() {
        check(DEFAULT, &[b"\x10\x10\x11"], b"\x10!");
        check("a,a,b", &[b"aaab"], b"a!");
        check("a,b,a,c", &[b"ababac"], b"ab!");
    }

    #[test]
    fn a_beginning_can_be_released() {
        let mut scanner = scanner(DEFAULT);
        scanner.scan(b"\x10");
        assert_eq!(scanner.release(), b"\x10");
        assert!(!scanner.is_holding());
        assert_eq!(scanner.scan(b"\x11").input, b"\x11");
    }

    #[test]
    fn keys_in_the_kitty_form_detach_and_a_release_does_not_break_it() {
        check(DEFAULT, &[b"\x1b[112;5u\x1b[113;5u"], b"!");
        check(
            DEFAULT,
            &[b"\x1b[112;5u\x1b[112;5:3u\x1b[57442;5u\x1b[113;5u"],
            b"!",
        );
        check(
            DEFAULT,
            &[b"\x1b[112;5u\x1b[112;5:3u\x1b[97u"],
            b"\x1b[112;5u\x1b[112;5:3u\x1b[97u",
        );
        check(DEFAULT, &[b"\x1b[97;1:3u"], b"\x1b[97;1:3u");
    }

    #[test]
    fn a_sequence_may_arrive_in_pieces() {
        check(DEFAULT, &[b"\x1b[112", b";5u\x1b[113;", b"5u"], b"!");
        check(DEFAULT, &[b"\x1b[1", b"A"], b"\x1b[1A");
        check(DEFAULT, &[b"\x1b[1"], b"?");
    }

    #[test]
    fn escape_alone_is_passed_on_at_once() {
        check(DEFAULT, &[b"\x1b"], b"\x1b");
        check(DEFAULT, &[b"\x1b", b"[", b"A"], b"\x1b[A");
        check(DEFAULT, &[b"\x1b", b"x"], b"\x1bx");
        check(DEFAULT, &[b"\x1b", b"\x10\x11"], b"\x1b!");
        check(DEFAULT, &[b"\x1b[", b"\x10\x11"], b"\x1b[!");
        check(DEFAULT, &[b"\x10\x1b"], b"\x10\x1b");
    }

    #[test]
    fn nothing_in_a_paste_detaches() {
        check(
            DEFAULT,
            &[b"\x1b[200~a\x10\x11b\x1b[201~"],
            b"\x1b[200~a\x10\x11b\x1b[201~",
        );
        check(
            DEFAULT,
            &[
                b"\x1b",
                b"[20",
                b"0~\x10",
                b"\x11\x1b\x1b[20",
                b"1~\x10\x11",
            ],
            b"\x1b[200~\x10\x11\x1b\x1b[201~!",
        );
    }

    #[test]
    fn alt_with_a_key_is_not_the_key() {
        check("a,b", &[b"\x1bab"], b"\x1bab");
        check("a,b", &[b"\x1bOab"], b"\x1bOab");
    }

    #[test]
    fn other_keys_can_be_chosen() {
        check("ctrl-[,ctrl-]", &[b"\x1b", b"\x1d"], b"\x1b\x1d");
        check("ctrl-],d", &[b"\x10\x11\x1dd"], b"\x10\x11!");
    }

    #[test]
    fn input_without_end_is_not_held_forever() {
        let long = [b"\x1b[".as_slice(), &[b'1'; 80]].concat();
        check(DEFAULT, &[&long], &long);
    }

    #[test]
    fn nothing_is_lost_however_the_input_is_cut() {
        let input =
            b"\x10a\x1b[200~\x10\x11\x1b[201~\x1b[112;5u\x1bOA\xc3\xa4\x1b[<0;1;1M\x1b\x1b[Bq";
        for first in 0..input.len() {
            for second in first..input.len() {
                let mut scanner = scanner(DEFAULT);
                let mut arrived = scanner.scan(&input[..first]).input;
                arrived.extend(scanner.scan(&input[first..second]).input);
                arrived.extend(scanner.scan(&input[second..]).input);
                arrived.extend(scanner.release());
                assert_eq!(arrived, input, "cut at {first} and {second}");
            }
        }
    }
}
