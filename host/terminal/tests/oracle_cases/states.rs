use agentd_terminal::Size;

use super::{Case, Step};

/// Text that shows where the cursor is, what a character looks like there, and what a line feed,
/// a wrap and a tab do.
const PROBE: &str =
    "xy\r\nq\tz\x1b[3Cwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\n\n\n\x1b8s\x08t";

/// Every kind of state that a program can leave a terminal in, each with what brings it about.
const STATES: &[(&str, &str)] = &[
    ("plain text", "hello\r\nworld"),
    (
        "alternate screen 1049",
        "primary\r\ntext\x1b[?1049h\x1b[2;3Halternate",
    ),
    ("alternate screen 1047", "primary\x1b[?1047halt"),
    ("alternate screen 47", "primary\x1b[?47halt"),
    (
        "primary content under the alternate screen",
        "one\r\ntwo\r\n\x1b[31mthree\x1b[?1049hx\x1b[?1049l",
    ),
    (
        "used alternate screen, left again",
        "a\x1b[?1049h\x1b[3;4H\x1b7\x1b[?1049lb",
    ),
    ("bracketed paste", "\x1b[?2004h"),
    ("mouse clicks 1000", "\x1b[?1000h"),
    ("mouse drag 1002", "\x1b[?1002h"),
    ("mouse motion 1003", "\x1b[?1003h"),
    ("mouse X10 9", "\x1b[?9h"),
    ("mouse encoding SGR 1006", "\x1b[?1000h\x1b[?1006h"),
    ("mouse encoding SGR pixels 1016", "\x1b[?1003h\x1b[?1016h"),
    (
        "mouse tracking off, encoding left",
        "\x1b[?1003;1006h\x1b[?1003l",
    ),
    ("focus events 1004", "\x1b[?1004h"),
    ("kitty keyboard stack", "\x1b[>1u\x1b[>5u"),
    ("application cursor keys", "\x1b[?1h"),
    ("application keypad", "\x1b="),
    ("keypad mode 66", "\x1b[?66h"),
    ("cursor hidden", "\x1b[?25l"),
    ("cursor style", "\x1b[5 q"),
    ("cursor blink 12", "\x1b[?12h"),
    ("scroll region", "a\r\nb\r\nc\x1b[2;4r\x1b[4;1H"),
    (
        "scroll region on the alternate screen only",
        "\x1b[2;3r\x1b[?1049h\x1b[3;5r",
    ),
    ("origin mode", "\x1b[2;4r\x1b[?6h\x1b[2;2H"),
    ("autowrap off", "\x1b[?7labc"),
    (
        "autowrap off at the margin",
        "\x1b[?7l0123456789012345678901234",
    ),
    ("insert mode", "abcdef\x1b[1;3H\x1b[4h"),
    ("insert mode after a character", "abcdef\x1b[1;3H\x1b[4hX"),
    (
        "insert mode at the margin",
        "01234567890123456789\x1b[1;19H\x1b[4hXY",
    ),
    ("newline mode", "abc\x1b[20h"),
    ("reverse wrap", "\x1b[?45h01234567890123456789012"),
    ("synchronized output", "\x1b[?2026h"),
    ("tab stops", "\x1b[3g\x1b[1;5H\x1bH\x1b[1;11H\x1bH\r"),
    ("no tab stops", "\x1b[3g"),
    (
        "tab stops of the alternate screen",
        "\x1b[?1049h\x1b[3g\x1b[1;7H\x1bH",
    ),
    ("line drawing in G0", "\x1b(0"),
    ("line drawing in G0, drawn", "\x1b(0lqqk"),
    ("line drawing in G1, shifted to", "\x1b)0\x0elqk"),
    ("line drawing in G1, not shifted to", "\x1b)0abc"),
    ("British in G2", "\x1b*A\x1bn#"),
    ("saved cursor", "\x1b[2;5H\x1b[1;32m\x1b7\x1b[m\x1b[4;1H"),
    (
        "saved cursor with line drawing",
        "\x1b[2;5H\x1b(0\x1b7\x1b(B\x1b[H",
    ),
    (
        "saved cursor on both screens",
        "\x1b[2;5H\x1b7\x1b[?1047h\x1b[3;3H\x1b[7m\x1b7\x1b[H",
    ),
    ("title", "\x1b]2;a title\x07"),
    ("title and icon name", "\x1b]0;both\x1b\\\x1b]1;icon\x07"),
    ("pushed title", "\x1b]2;old\x07\x1b[22;2t\x1b]2;new\x07"),
    (
        "links",
        "\x1b]8;;http://example.com/a\x07link\x1b]8;;\x07 and \x1b]8;id=x;http://b\x07more",
    ),
    ("open link", "\x1b]8;;http://example.com/a\x07link"),
    ("palette", "\x1b]4;1;rgb:12/34/56\x07\x1b]4;200;#abcdef\x07"),
    (
        "special colours",
        "\x1b]10;#111111\x07\x1b]11;#222222\x07\x1b]12;#333333\x07",
    ),
    (
        "palette, partly reset",
        "\x1b]4;1;#111111;2;#222222\x07\x1b]104;1\x07\x1b]11;#333333\x07\x1b]111\x07",
    ),
    (
        "attributes",
        "\x1b[1mb\x1b[0;2md\x1b[0;3mi\x1b[0;5mk\x1b[0;7mr\x1b[0;8mh\x1b[0;9ms\x1b[0;53mo",
    ),
    (
        "underlines",
        "\x1b[4ma\x1b[4:2mb\x1b[4:3mc\x1b[4:4md\x1b[4:5me\x1b[21mf\x1b[58;2;1;2;3mg\x1b[58:5:9mh",
    ),
    (
        "colours",
        "\x1b[31ma\x1b[92mb\x1b[38;5;3mc\x1b[38;5;200md\x1b[38;2;1;2;3me\x1b[48:2::9:8:7mf\x1b[105mg",
    ),
    ("pen without text", "\x1b[1;3;38;5;99;48;2;9;9;9;4:3m"),
    (
        "erased with a background",
        "abc\x1b[44m\x1b[K\r\n\x1b[3;5H\x1b[41m\x1b[J",
    ),
    (
        "erased in the middle",
        "abcdefgh\x1b[1;3H\x1b[45m\x1b[2X\x1b[1;6H\x1b[m\x1b[1X",
    ),
    (
        "protected text",
        "\x1b[1\"qkept\x1b[0\"qlost\x1b[?K\x1b[H\x1b[?J",
    ),
    ("pending wrap", "01234567890123456789"),
    (
        "pending wrap with another pen",
        "01234567890123456789\x1b[31m",
    ),
    (
        "pending wrap on an erased line",
        "01234567890123456789\x1b[2K",
    ),
    (
        "pending wrap after a wide character",
        "012345678901234567漢",
    ),
    (
        "wrapped lines",
        "0123456789012345678901234567890123456789012345",
    ),
    (
        "wrapped line, erased end",
        "01234567890123456789012345\x1b[1;10H\x1b[K\x1b[4;1H",
    ),
    (
        "wrapped line, erased beginning",
        "01234567890123456789012345\x1b[2;4H\x1b[1K\x1b[4;1H",
    ),
    ("wrapped wide character", "0123456789012345678漢字"),
    (
        "wrapped with a background",
        "\x1b[44m0123456789012345678901234\r\n\r\n\r\n\r\n01234567890123456789012",
    ),
    ("wide characters", "漢字かな"),
    ("halved wide characters", "漢字かな\x1b[1;2Hx\x1b[1;5Hy"),
    ("emoji", "😀 🎉"),
    ("combining marks", "e\u{301}a\u{308}\u{323} n\u{303}"),
    ("combining mark to come", "e"),
    ("joined emoji", "👩\u{200d}💻"),
    ("cursor beyond the text", "ab\x1b[4;15H"),
    ("scrollback", "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9"),
    (
        "scrollback from a region",
        "top\r\n\x1b[1;3ra\r\nb\r\nc\r\nd\r\ne",
    ),
    (
        "scrollback under the alternate screen",
        "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\x1b[?1049hx",
    ),
    ("unfinished CSI", "abc\x1b[3"),
    ("unfinished CSI with parts", "abc\x1b[4:3;38:2"),
    ("unfinished OSC", "abc\x1b]2;half a ti"),
    ("unfinished DCS", "abc\x1bP$q"),
    ("unfinished APC", "abc\x1b_some"),
    ("unfinished escape", "abc\x1b"),
    ("unfinished charset", "abc\x1b("),
    ("unfinished C1 CSI", "abc\u{9b}2"),
    (
        "after a soft reset",
        "\x1b[31;4m\x1b[2;3r\x1b[?1h\x1b[4h\x1b(0\x1b[!p",
    ),
    ("after a full reset", "abc\x1b[?1049h\x1b[31m\x1bc"),
    ("alignment pattern", "\x1b#8"),
];

pub fn cases() -> Vec<Case> {
    let size = Size::new(20, 5).unwrap();
    let mut cases: Vec<Case> = STATES
        .iter()
        .map(|(name, state)| {
            case(
                name,
                size,
                state.as_bytes().to_vec(),
                PROBE.as_bytes().to_vec(),
            )
        })
        .collect();
    // A character cut in two.
    for (cut, text) in [(1, "é"), (1, "漢"), (2, "漢"), (3, "😀")] {
        let (before, after) = text.as_bytes().split_at(cut);
        let name = format!("unfinished character {text}, {cut} bytes");
        cases.push(case(&name, size, before.to_vec(), after.to_vec()));
    }
    // What only shows by its effect.
    for (name, before, after) in [
        ("mark joins across the cut", "ae", "\u{301}b"),
        (
            "mark joins a wide character across the cut",
            "漢",
            "\u{301}b",
        ),
        ("repetition across the cut", "ab", "\x1b[5b"),
        (
            "repetition of line drawing across the cut",
            "\x1b(0q",
            "\x1b[5bq",
        ),
        (
            "repetition at the margin",
            "01234567890123456789",
            "\x1b[3b",
        ),
        ("keyboard stack popped", "\x1b[>1u\x1b[>3u", "\x1b[<u"),
        (
            "back to the primary screen",
            "one\r\n\x1b[32mtwo\x1b[?1049h\x1b[Hx",
            "\x1b[?1049lthree",
        ),
        ("OSC ended after the cut", "\x1b]2;half", " done\x07text"),
        (
            "link ended after the cut",
            "\x1b]8;;http://a\x07li",
            "nk\x1b]8;;\x07!",
        ),
    ] {
        cases.push(case(name, size, before.into(), after.into()));
    }
    let wide = Size::new(30, 7).unwrap();
    let narrow = Size::new(13, 4).unwrap();
    let text =
        "first line that is long enough to be wrapped\r\nsecond\r\n漢字漢字漢字漢字漢字漢字\r\n$ ";
    for (name, sizes) in [
        ("grown", vec![wide]),
        ("shrunk", vec![narrow]),
        ("grown and shrunk", vec![wide, narrow]),
        ("shrunk and grown", vec![narrow, wide]),
    ] {
        let mut steps = vec![Step::Write(text.into())];
        steps.extend(sizes.into_iter().map(Step::Resize));
        steps.push(Step::Write(b"more\r\ntext".to_vec()));
        for cut in 1..steps.len() {
            cases.push(Case {
                name: format!("{name}, joined before step {cut}"),
                size,
                scrollback: 1000,
                steps: steps.clone(),
                cut,
            });
        }
    }
    cases
}

fn case(name: &str, size: Size, before: Vec<u8>, after: Vec<u8>) -> Case {
    Case {
        name: name.to_string(),
        size,
        scrollback: 0,
        steps: vec![Step::Write(before), Step::Write(after)],
        cut: 1,
    }
}
