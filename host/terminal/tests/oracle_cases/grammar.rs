use agentd_terminal::Size;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Case, Step};

const CASES: usize = 600;

/// What a case is made of. Some things xterm.js does together as no other terminal does, and
/// our emulator neither, so they are kept apart.
#[derive(Clone, Copy)]
struct Flavour {
    /// Saving and restoring the cursor; but no scrollback, which would move the saved line.
    saving: bool,
    /// Wide characters; but not shifting columns, which leaves halves of them, nor autowrap off,
    /// which makes a mark join a character that found no place.
    wide: bool,
    /// Origin mode; but not moving relative to the cursor, which adds the region's top again.
    origin: bool,
}

/// The sequences that programs use, in any order and mixed with text, cut anywhere. The same
/// ones in every run.
pub fn cases() -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    let size = Size::new(20, 6).unwrap();
    (0..CASES)
        .map(|number| {
            let flavour = Flavour {
                saving: number & 1 == 0,
                wide: number & 2 == 0,
                origin: number & 4 == 0,
            };
            let pieces = prop::collection::vec(piece(flavour), 1..80);
            let bytes = pieces.new_tree(&mut runner).unwrap().current().concat();
            let cut = (0..=bytes.len()).new_tree(&mut runner).unwrap().current();
            let (before, after) = bytes.split_at(cut);
            Case {
                name: format!("{number}: {}", bytes.escape_ascii()),
                size,
                scrollback: if flavour.saving { 0 } else { 1000 },
                steps: vec![Step::Write(before.to_vec()), Step::Write(after.to_vec())],
                cut: 1,
            }
        })
        .collect()
}

fn piece(flavour: Flavour) -> BoxedStrategy<Vec<u8>> {
    let beyond_ascii = if flavour.wide {
        "(漢|é|😀|ｆ|─|e\u{301}){1,8}"
    } else {
        "(é|─|e\u{301}){1,8}"
    };
    let text = prop_oneof![
        4 => "[ -~]{1,30}".prop_map(String::into_bytes),
        1 => beyond_ascii.prop_map(String::into_bytes),
        2 => "(\r\n|\r|\n|\t|\x08){1,3}".prop_map(String::into_bytes),
    ];
    let number = prop_oneof![Just(String::new()), (0..25_u32).prop_map(|n| n.to_string())];
    let mut finals = b"HJKLMSTXZI".to_vec();
    if !flavour.wide {
        finals.extend(b"@P");
    }
    if !flavour.origin {
        finals.extend(b"ABCDEFG`ade");
    }
    let csi = (
        prop::collection::vec(number, 0..3),
        prop::sample::select(finals),
    )
        .prop_map(|(params, last)| {
            format!("\x1b[{}{}", params.join(";"), char::from(last)).into_bytes()
        });
    let region = (1..6_u32, 1..7_u32).prop_map(|(a, b)| format!("\x1b[{a};{b}r").into_bytes());
    let mut modes = vec![
        "1", "25", "47", "66", "1000", "1002", "1003", "1004", "1006", "1047", "2004", "2026",
    ];
    if flavour.origin {
        modes.push("6");
    }
    if !flavour.wide {
        modes.push("7");
    }
    let mode = prop::sample::select(modes);
    let private = (mode, "[hl]").prop_map(|(mode, on)| format!("\x1b[?{mode}{on}").into_bytes());
    let style = prop::sample::select(vec![
        "",
        "0",
        "1",
        "2",
        "3",
        "4",
        "4:3",
        "7",
        "8",
        "9",
        "21",
        "22",
        "23",
        "24",
        "27",
        "28",
        "29",
        "31",
        "36",
        "39",
        "42",
        "44",
        "49",
        "53",
        "55",
        "95",
        "104",
        "38;5;99",
        "48;5;3",
        "38;2;1;2;3",
        "48:2::9:8:7",
        "58;5;4",
        "58:2::1:2:3",
        "1;4;33;41",
    ]);
    let sgr = style.prop_map(|style| format!("\x1b[{style}m").into_bytes());
    let mut other = vec![
        "\x1bD",
        "\x1bE",
        "\x1bH",
        "\x1bM",
        "\x1b=",
        "\x1b>",
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x0e",
        "\x0f",
        "\x1b#8",
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[20h",
        "\x1b[20l",
        "\x1b[0g",
        "\x1b[3g",
        "\x1b[2 q",
        "\x1b[5 q",
        "\x1b[1\"q",
        "\x1b[0\"q",
        "\x1b[?J",
        "\x1b[?1K",
        "\x1b[3b",
        "\x1b]0;title\x07",
        "\x1b]2;other\x1b\\",
        "\x1b]4;1;#123456\x07",
        "\x1b]10;rgb:11/22/33\x07",
        "\x1b]104\x07",
        "\x1b]52;c;eA==\x07",
        "\x1bP$qm\x1b\\",
        "\x1b_app\x1b\\",
        "\x1b[>1u",
        "\x1b[<u",
        "\x1b[c",
        "\x1b[6n",
        "\u{9b}3C",
        "\u{85}",
    ];
    if !flavour.wide {
        other.extend(["\x1b[2 @", "\x1b[1 A", "\x1b['}", "\x1b[2'~"]);
    }
    {
        other.extend([
            "\x1b]8;;http://a\x1b\\",
            "\x1b]8;id=1;http://b\x07",
            "\x1b]8;;\x07",
        ]);
    }
    if flavour.saving {
        other.extend([
            "\x1b7",
            "\x1b8",
            "\x1b[s",
            "\x1b[u",
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b[!p",
        ]);
    }
    let other = prop::sample::select(other);
    prop_oneof![
        8 => text,
        8 => csi,
        1 => region,
        3 => private,
        4 => sgr,
        4 => other.prop_map(|text| text.as_bytes().to_vec()),
    ]
    .boxed()
}
