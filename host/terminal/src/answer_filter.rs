/// Sequences longer than this are not answers; what was held back is passed on.
const LONGEST_ANSWER: usize = 4096;

/// Takes a viewer terminal's own answers out of what it sends.
///
/// The program's questions reach every viewer's terminal with the output. The daemon answers
/// them, once; the answers of the terminals, which would be typed into the program as well, are
/// dropped here: device attributes, status and cursor reports, mode and setting reports, the
/// version, colours, and the kitty keyboard's flags.
///
/// Keys always pass, and at once: nothing is held back that could be a key on its own. So an
/// `ESC` at the end of a piece passes, and an answer cut right behind it passes too; answers are
/// written in one piece by the terminals, and only the network may cut them elsewhere. A cursor
/// report in row 1 looks like F3 with a modifier (`CSI 1 ; 2 R`) and passes: a key that is
/// eaten is worse than an answer too many.
#[derive(Debug, Clone, Default)]
pub struct AnswerFilter {
    /// The beginning of what may become an answer.
    held: Vec<u8>,
}

enum Verdict {
    /// Not an answer, or one that cannot be distinguished from a key.
    Input,
    /// An answer of this many bytes.
    Answer(usize),
    /// The beginning of an answer and of no key.
    Unfinished,
}

impl AnswerFilter {
    /// A filter for one viewer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads input, in any pieces, and gives back what was typed, clicked or pasted.
    pub fn filter(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(input);
        let mut kept = Vec::with_capacity(bytes.len());
        let mut rest = &bytes[..];
        while let Some(start) = rest.iter().position(|&byte| byte == 0x1b) {
            kept.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            match judge(rest) {
                Verdict::Answer(length) => rest = &rest[length..],
                Verdict::Unfinished if rest.len() < LONGEST_ANSWER => {
                    self.held = rest.to_vec();
                    return kept;
                }
                Verdict::Input | Verdict::Unfinished => {
                    kept.push(0x1b);
                    rest = &rest[1..];
                }
            }
        }
        kept.extend_from_slice(rest);
        kept
    }
}

fn judge(bytes: &[u8]) -> Verdict {
    match bytes {
        [0x1b, b'[', rest @ ..] => judge_csi(rest),
        [0x1b, b']', rest @ ..] => judge_string(rest, is_color_report),
        [0x1b, b'P', rest @ ..] => judge_string(rest, is_dcs_report),
        _ => Verdict::Input,
    }
}

/// What follows `ESC [`.
fn judge_csi(rest: &[u8]) -> Verdict {
    let Some(end) = rest.iter().position(|byte| !(0x20..0x40).contains(byte)) else {
        // A key's sequence may be cut anywhere too, but only answers begin with a prefix, the
        // mouse's `<` aside.
        return match rest {
            [b'?' | b'>', ..] => Verdict::Unfinished,
            _ => Verdict::Input,
        };
    };
    let (params, last) = (&rest[..end], rest[end]);
    let numbers = params.strip_prefix(b"?").unwrap_or(params);
    let is_report = match (params, last) {
        // DA1 and DA2; DECRPM; DECXCPR; the kitty keyboard's flags.
        ([b'?' | b'>', ..], b'c') => true,
        (_, b'y') => numbers.ends_with(b"$"),
        ([b'?', ..], b'R' | b'u' | b'n') => true,
        // CPR, but for the row that F3 has.
        (_, b'R') => {
            let row = params.split(|&byte| byte == b';').next();
            params.contains(&b';') && row.is_some_and(|row| row != b"1")
        }
        // DSR.
        (b"0" | b"3", b'n') => true,
        // The text area's size in pixels and in characters, the cell's, the screen's.
        ([b'4' | b'6' | b'8' | b'9', b';', ..], b't') => true,
        _ => false,
    };
    if is_report
        && numbers
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b';' | b'>' | b'$' | b':'))
    {
        Verdict::Answer(2 + end + 1)
    } else {
        Verdict::Input
    }
}

/// What follows `ESC ]` or `ESC P`, an Alt key on its own, which no more than one other
/// character follows at once.
fn judge_string(rest: &[u8], is_report: fn(&[u8]) -> bool) -> Verdict {
    for (index, byte) in rest.iter().enumerate() {
        let text = &rest[..index];
        match (byte, rest.get(index + 1)) {
            (0x07, _) if is_report(text) => return Verdict::Answer(2 + index + 1),
            (0x1b, Some(b'\\')) if is_report(text) => return Verdict::Answer(2 + index + 2),
            (0x1b, None) if is_report(text) => return Verdict::Unfinished,
            (..0x20, _) => return Verdict::Input,
            _ => {}
        }
    }
    if is_report(rest) {
        Verdict::Unfinished
    } else {
        Verdict::Input
    }
}

/// OSC 4, 10, 11 or 12 with a colour.
fn is_color_report(text: &[u8]) -> bool {
    ["4;", "10;", "11;", "12;"]
        .iter()
        .any(|code| text.starts_with(code.as_bytes()))
}

/// XTVERSION, DA3, DECRPSS and XTGETTCAP.
fn is_dcs_report(text: &[u8]) -> bool {
    [">|", "!|", "1$r", "0$r", "1+r", "0+r"]
        .iter()
        .any(|code| text.starts_with(code.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWERS: &[&str] = &[
        "\x1b[?62;22c",
        "\x1b[?1;2c",
        "\x1b[>0;276;0c",
        "\x1bP!|00000000\x1b\\",
        "\x1b[0n",
        "\x1b[24;80R",
        "\x1b[?12;4R",
        "\x1b[?2004;1$y",
        "\x1b[4;2$y",
        "\x1bP1$r0;1m\x1b\\",
        "\x1bP0$r\x1b\\",
        "\x1bP>|xterm.js(6.0.0)\x1b\\",
        "\x1bP1+r544e=787465726d\x1b\\",
        "\x1b]11;rgb:0000/0000/0000\x1b\\",
        "\x1b]10;rgb:ffff/ffff/ffff\x07",
        "\x1b]4;12;rgb:00/00/ff\x1b\\",
        "\x1b[?0u",
        "\x1b[?31u",
        "\x1b[8;24;80t",
        "\x1b[?997;1n",
    ];

    /// As terminals send them, in each of the encodings.
    const KEYS: &[&str] = &[
        "a",
        "é",
        "\x1b",
        "\x1b\x1b",
        "\r",
        "\x1b[A",
        "\x1bOA",
        "\x1b[1;5A",
        "\x1b[1;2R",
        "\x1b[1;6R",
        "\x1bOR",
        "\x1b[13~",
        "\x1b[3;5~",
        "\x1b[200~pasted\x1b[201~",
        "\x1b[I",
        "\x1b[O",
        "\x1b[<0;10;20M",
        "\x1b[<35;1;1m",
        "\x1b[M !!",
        "\x1b[97;5u",
        "\x1b[57441;2:3u",
        "\x1b[27;5;13~",
        "\x1b[Z",
        "\x1ba",
        "\x1bP",
        "\x1b]",
        "\x1b[",
        "\x1b[24~",
        "\x1b[E",
    ];

    fn filtered(input: &str) -> String {
        String::from_utf8(AnswerFilter::new().filter(input.as_bytes())).unwrap()
    }

    #[test]
    fn answers_of_the_terminal_are_removed() {
        for answer in ANSWERS {
            assert_eq!(filtered(answer), "", "{answer:?}");
            assert_eq!(
                filtered(&format!("a{answer}b{answer}c")),
                "abc",
                "{answer:?}"
            );
        }
    }

    #[test]
    fn keys_are_passed_on_at_once() {
        for key in KEYS {
            assert_eq!(filtered(key), *key, "{key:?}");
        }
    }

    #[test]
    fn keys_next_to_answers_are_kept() {
        for key in ["a", "\x1b[A", "\x1b[1;2R", "\x1b[<0;1;1M", "\x1b[97;5u"] {
            for answer in ANSWERS {
                assert_eq!(
                    filtered(&format!("{key}{answer}")),
                    key,
                    "{key:?} {answer:?}"
                );
                assert_eq!(
                    filtered(&format!("{answer}{key}")),
                    key,
                    "{key:?} {answer:?}"
                );
            }
        }
    }

    #[test]
    fn answers_may_be_cut_after_their_introducer() {
        // Those that begin with a number could be keys up to their last byte.
        let like_a_key =
            |answer: &str| answer.as_bytes()[2].is_ascii_digit() && answer.as_bytes()[1] == b'[';
        for answer in ANSWERS.iter().filter(|answer| !like_a_key(answer)) {
            let shortest = if answer.starts_with("\x1b[") { 3 } else { 6 };
            for cut in shortest..answer.len() {
                let mut filter = AnswerFilter::new();
                let (first, second) = answer.as_bytes().split_at(cut);
                let mut kept = filter.filter(first);
                kept.extend(filter.filter(second));
                assert_eq!(kept, b"", "{answer:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_sequence_without_an_end_is_passed_on() {
        let mut filter = AnswerFilter::new();
        let endless = format!("\x1b]11;{}", "x".repeat(2 * LONGEST_ANSWER));
        assert_eq!(filter.filter(endless.as_bytes()), endless.as_bytes());
        assert_eq!(filter.filter(b"a"), b"a");
    }

    proptest! {
        #[test]
        fn typed_text_is_not_changed(keys in prop::collection::vec("[ -~é漢]|\r|\t|\x1b|\x1b\\[[A-HZ]|\x1b\\[1;[2-8][A-HPQRS]|\x1b\\[[0-9]{1,2}~|\x1bO[A-S]", 0..30)) {
            // An answer can be typed character by character; it then arrives that way.
            let mut filter = AnswerFilter::new();
            for key in &keys {
                let kept = filter.filter(key.as_bytes());
                prop_assert_eq!(String::from_utf8(kept).unwrap(), key.clone());
            }
        }
    }
}
