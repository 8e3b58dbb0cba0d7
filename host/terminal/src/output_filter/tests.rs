use proptest::prelude::*;

use super::*;
use crate::{Emulator, Size};

#[track_caller]
fn check(output: &str, expected: &str) {
    let output = output.as_bytes();
    for cut in 0..=output.len() {
        let mut filter = OutputFilter::new();
        let mut kept = filter.filter(&output[..cut]).into_owned();
        kept.extend_from_slice(&filter.filter(&output[cut..]));
        assert_eq!(
            kept.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string(),
            "cut at {cut}"
        );
    }
}

/// What terminals answer, and what does more than show something.
const UNWANTED: &[&str] = &[
    "\x05",
    "\x1bZ",
    "\u{9a}",
    "\x1b[c",
    "\x1b[0c",
    "\x1b[>c",
    "\x1b[=0c",
    "\u{9b}c",
    "\x1b[5n",
    "\x1b[6n",
    "\x1b[?6n",
    "\x1b[?996n",
    "\x1b[?2026$p",
    "\x1b[4$p",
    "\x1b[x",
    "\x1b[1;1$w",
    "\x1b[>0q",
    "\x1b[?u",
    "\x1b[?4m",
    "\x1b[11t",
    "\x1b[14t",
    "\x1b[18t",
    "\x1b[20t",
    "\x1b[21t",
    "\x1b[0021t",
    "\x1b[?1;1S",
    "\x1b[1;1;1;1;1;1*y",
    "\x1b[8;10;10t",
    "\x1b[2t",
    "\x1b[5i",
    "\x1b[?5i",
    "\x1b[?2l",
    "\x1b[?25;2l",
    "\x1b[$6n",
    "\x1b[6?n",
    "\x1b[62;0\"p",
    "\x1b%@",
    "\x1b G",
    "\x1b]52;c;cm0gLXJmIH4K\x07",
    "\x1b]52;c;?\x1b\\",
    "\u{9d}52;c;cm0K\u{9c}",
    "\x1b]11;?\x07",
    "\x1b]10;#fff;?\x1b\\",
    "\x1b]4;1;#fff;2;?\x1b\\",
    "\x1b]50;?\x07",
    "\x1b]7;file:///tmp\x07",
    "\x1b]9;7;\"cmd\"\x07",
    "\x1b]1337;ReportCellSize\x07",
    "\x1b]99;i=1:p=?;\x1b\\",
    "\x1bP$qm\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1bP0;0|17/726d\x1b\\",
    "\x1b_Gi=1,a=q;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bktitle\x1b\\",
];

/// Attack: a program sets the person's clipboard or title, asks their terminal, or has it print, type or
/// run something. Then: what does so is left out on the way to it.
#[test]
fn what_a_terminal_would_answer_or_do_is_left_out() {
    for unwanted in UNWANTED {
        check(&format!("a{unwanted}b"), "ab");
        check(&format!("é{unwanted}{unwanted}漢"), "é漢");
    }
}

#[test]
fn what_is_shown_passes() {
    for wanted in [
        "plain é漢 \r\n\t\x07\x08",
        "\x1b[0;1;38:2::1:2:3mred\x1b[m",
        "\x1b[2J\x1b[H\x1b[3;4f\x1b[?25l\x1b[?1049h\x1b[?1000;1006h\x1b[?2004h\x1b[?2026h",
        "\x1b[5 q\x1b[!p\x1b[1\"q\x1b[>1u\x1b[<u\x1b[=1;1u\x1b[>4;2m\x1b[22;0t\x1b[23;2t",
        "\x1b(0\x1b(B\x1b)0\x1b#8\x1b=\x1b>\x1b7\x1b8\x1bM\x1bc\x1bn\x1bo\x1bH\x1b\\\x0e\x0f",
        "\x1b]0;title é\x07\x1b]2;title\x1b\\\x1b]8;id=1;https://example.org\x1b\\x\x1b]8;;\x1b\\",
        "\x1b]4;1;rgb:ff/00/00\x07\x1b]11;#102030\x1b\\\x1b]104\x07\x1b]110\x1b\\\x1b]9;4;1;50\x07",
        "\u{85}\u{9b}1m\u{9d}2;title\u{9c}",
    ] {
        check(wanted, wanted);
    }
}

#[test]
fn a_control_in_the_middle_of_a_sequence_hides_nothing() {
    check("\x1b[6\nn", "\n");
    check("\x1b[\x056n", "");
    check("\x1b[6\x1b[21t", "");
    check("\x1b[6\x18n", "\x18n");
    check("\x1b[6\u{9b}21t", "");
    check("\x1b[6én", "én");
    check("\x1b]2;a\x1b[21tb\x07", "b\x07");
    check("\x1b]2;a\u{9b}21tb", "b");
    check("\x1b]2;a\x05b\nc\x07", "\x1b]2;abc\x07");
    check("\x1b\x1b[6n", "");
    check("\x1bP\x1b]52;c;cm0K\x07a", "a");
    // What tmux would pass on to the terminal around it.
    check("\x1bPtmux;\x1b\x1b[21t\x1b\\a", "\x1b\\a");
}

/// Attack: sequences without an end. Then: they take no memory.
#[test]
fn what_has_no_end_is_not_kept() {
    let long = "x".repeat(LONGEST_STRING);
    check_length(&format!("\x1b]2;{long}{long}{long}"));
    check_length(&format!("\x1b[{}", "1;".repeat(LONGEST_CONTROL)));
    check_length(&format!("\x1b_G{long}{long}"));
    let mut filter = OutputFilter::new();
    let endless = format!("\x1b]2;{long}{long}\x07b");
    assert_eq!(filter.filter(endless.as_bytes()), b"b".as_slice());
}

#[track_caller]
fn check_length(output: &str) {
    let mut filter = OutputFilter::new();
    assert_eq!(filter.filter(output.as_bytes()), b"".as_slice());
    assert!(filter.held.len() <= LONGEST_STRING + 1);
}

/// Output as programs write it, and as nobody does.
fn output() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~é漢\r\n]{1,12}",
        4 => "\x1b\\[[<-?]?[0-9;:]{0,6}[ -/]?[@-~]",
        2 => "\x1b[0-~]",
        2 => "\x1b[ -/][0-~]",
        2 => "\x1b\\](0|2|4;1|8;|10|11|52;c|104);[a-z?#0-9]{0,8}(\x07|\x1b\\\\)",
        1 => "[\u{80}-\u{9f}\x05\x18\x1a\x1b]",
        1 => prop::sample::select(UNWANTED).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(output in output(), cut in any::<prop::sample::Index>()) {
        let output = output.as_bytes();
        let whole = OutputFilter::new().filter(output).into_owned();
        let (head, tail) = output.split_at(cut.index(output.len() + 1));
        let mut filter = OutputFilter::new();
        let mut pieces = filter.filter(head).into_owned();
        pieces.extend_from_slice(&filter.filter(tail));
        prop_assert_eq!(pieces, whole);
    }

    /// No terminal that reads as our emulator does has anything to say to it.
    ///
    /// Attack: random output is shown to a terminal that answers questions. Then: it answers nothing, so
    /// nothing is typed for the person.
    #[test]
    fn a_terminal_never_answers_to_what_passes(output in output()) {
        let passed = OutputFilter::new().filter(output.as_bytes()).into_owned();
        let mut terminal = Emulator::new(Size::new(80, 24).unwrap(), 100);
        terminal.advance(&passed);
        prop_assert_eq!(terminal.take_replies(), b"", "{:?}", passed);
    }

    /// What is left out is nothing that the emulator shows.
    #[test]
    fn a_snapshot_passes_as_it_is(output in output()) {
        let mut terminal = Emulator::new(Size::new(80, 24).unwrap(), 100);
        terminal.advance(output.as_bytes());
        terminal.take_replies();
        terminal.advance(b"\x18\x1b\\");
        let snapshot = terminal.snapshot();
        let mut filter = OutputFilter::new();
        prop_assert_eq!(filter.filter(&snapshot).escape_ascii().to_string(), snapshot.escape_ascii().to_string());
    }
}
