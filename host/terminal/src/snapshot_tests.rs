//! Emulator, snapshot, second emulator: equal, and equal in what they do next.

use proptest::prelude::*;

use crate::emulator::Emulator;
use crate::same::{assert_same, restores};
use crate::size::Size;

fn small() -> Size {
    Size::new(10, 4).unwrap()
}

/// Pieces that hit one another: text around the margins, and every sequence that is obeyed.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        "[a-z]{1,12}".prop_map(String::into_bytes),
        "(漢|é|😀|e\u{301}|\u{301}|a\u{200d}|ｆ){1,6}".prop_map(String::into_bytes),
        "(\r|\n|\t|\x08|\x0e|\x0f|\x0b|\r\n|\x18|\x7f){1,3}".prop_map(String::into_bytes),
    ];
    let number = prop_oneof![Just(String::new()), (0..14_u32).prop_map(|n| n.to_string())];
    let csi = (prop::collection::vec(number, 0..3), "[@A-ZST`a-gm-ru]")
        .prop_map(|(params, last)| format!("\x1b[{}{last}", params.join(";")).into_bytes());
    let mode = prop::sample::select(vec![
        "1", "6", "7", "9", "12", "25", "45", "47", "66", "1000", "1002", "1003", "1004", "1006",
        "1016", "1007", "1047", "1048", "1049", "2004", "2026", "2031",
    ]);
    let private = (mode, "[hl]").prop_map(|(mode, on)| format!("\x1b[?{mode}{on}").into_bytes());
    let style = prop::sample::select(vec![
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
        "24",
        "31",
        "42",
        "44",
        "49",
        "39",
        "95",
        "104",
        "38;5;99",
        "48;5;3",
        "38;2;1;2;3",
        "48:2::9:8:7",
        "58;5;4",
        "58:2::1:2:3",
        "59",
        "53",
    ]);
    let sgr = style.prop_map(|style| format!("\x1b[{style}m").into_bytes());
    let other = prop::sample::select(vec![
        "\x1b7",
        "\x1b8",
        "\x1bD",
        "\x1bE",
        "\x1bH",
        "\x1bM",
        "\x1b=",
        "\x1b>",
        "\x1bc",
        "\x1bn",
        "\x1b~",
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x1b*A",
        "\x1b#8",
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[20h",
        "\x1b[20l",
        "\x1b[!p",
        "\x1b[>1u",
        "\x1b[>5u",
        "\x1b[<u",
        "\x1b[=3;2u",
        "\x1b[2 q",
        "\x1b[5 q",
        "\x1b[1\"q",
        "\x1b[0\"q",
        "\x1b[?J",
        "\x1b[?1K",
        "\x1b[2 @",
        "\x1b[1 A",
        "\x1b['}",
        "\x1b[2'~",
        "\x1b[22t",
        "\x1b[23;2t",
        "\x1b[>4;2m",
        "\x1b]0;title\x07",
        "\x1b]2;other\x1b\\",
        "\x1b]8;;http://a\x1b\\",
        "\x1b]8;id=1;http://b\x07",
        "\x1b]8;;\x07",
        "\x1b]4;1;#123456\x07",
        "\x1b]10;rgb:1/2/3\x07",
        "\x1b]104\x07",
        "\x1b]111\x07",
        "\x1bP$qm\x1b\\",
        "\x1b_app\x1b\\",
        "\u{9b}3C",
        "\u{85}",
        "\x1b",
        "\x1b[1",
        "\x1b]0;a",
    ]);
    let garbage = prop::collection::vec(any::<u8>(), 1..8);
    prop_oneof![
        6 => text,
        6 => csi,
        3 => private,
        3 => sgr,
        4 => other.prop_map(|text| text.as_bytes().to_vec()),
        1 => garbage,
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(pieces(), 0..60).prop_map(|pieces| pieces.concat())
}

fn size() -> impl Strategy<Value = Size> {
    (2..14_u16, 1..6_u16).prop_map(|(cols, rows)| Size::new(cols, rows).unwrap())
}

/// What programs print, and moves of the cursor between.
fn printed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "(漢字|é|a|bc|e\u{301}| |\r\n){1,6}".prop_map(String::into_bytes),
        1 => (0..6, 0..14).prop_map(|(row, column)| format!("\x1b[{row};{column}H").into_bytes()),
        1 => Just(b"\x1b[K".to_vec()),
        1 => Just(b"\x1b[2J".to_vec()),
        1 => prop::sample::select(vec!["31", "4", "42", ""])
            .prop_map(|style| format!("\x1b[{style}m").into_bytes()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_state_is_restored(bytes in stream(), cut in 0.0..=1.0_f64) {
        let cut = (bytes.len() as f64 * cut) as usize;
        restores(small(), &bytes[..cut], &bytes[cut..], assert_same);
    }

    #[test]
    fn random_bytes_are_restored(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cut in 0..400_usize,
    ) {
        let cut = cut.min(bytes.len());
        restores(small(), &bytes[..cut], &bytes[cut..], assert_same);
    }

    #[test]
    fn output_may_be_cut_anywhere(bytes in stream(), cuts in prop::collection::vec(0..200_usize, 0..10)) {
        let mut whole = Emulator::new(small(), 50);
        whole.advance(&bytes);
        let mut pieced = Emulator::new(small(), 50);
        let mut rest = &bytes[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            pieced.advance(now);
            rest = later;
        }
        pieced.advance(rest);
        assert_same(&whole, &pieced, "pieces");
    }

    /// Lines that were wrapped are wrapped anew in the same way.
    #[test]
    fn a_restored_screen_is_resized_like_the_first(
        steps in prop::collection::vec((printed(), size()), 1..6),
        cut in 0..6_usize,
    ) {
        let mut first = Emulator::new(small(), 50);
        let mut second = None;
        for (index, (bytes, size)) in steps.iter().enumerate() {
            for emulator in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                emulator.advance(bytes);
            }
            if index == cut {
                let mut restored = Emulator::new(first.size(), 50);
                restored.advance(&first.snapshot());
                second = Some(restored);
            }
            for emulator in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                emulator.resize(*size);
            }
            if let Some(second) = &second {
                assert_same(&first, second, "the new size");
            }
        }
    }

    #[test]
    fn the_smallest_sizes_are_accepted(
        bytes in stream(),
        sizes in prop::collection::vec((1..5_u16, 1..5_u16), 1..5),
    ) {
        let mut emulator = Emulator::new(small(), 3);
        for (cols, rows) in sizes {
            emulator.advance(&bytes);
            emulator.resize(Size::new(cols, rows).unwrap());
            emulator.advance(&bytes);
            let restored = emulator.clone().put_away().restore();
            prop_assert_eq!(restored.size(), emulator.size());
        }
    }
}

/// The empty column that a new size has added to a line that goes on below is none that may be written to.
#[test]
fn a_line_that_grew_is_wrapped_anew_as_before_its_snapshot() {
    let size = |cols, rows| Size::new(cols, rows).unwrap();
    let in_red = "\x1b[31m".to_owned() + &"漢字".repeat(3);
    let cases = [
        (size(7, 1), "é漢字bcé", size(8, 1), "\r\n"),
        (size(3, 1), &in_red, size(7, 3), "\x1b[2J"),
    ];
    for (before, text, grown, after) in cases {
        let mut first = Emulator::new(before, 50);
        first.advance(text.as_bytes());
        first.resize(grown);
        first.advance(after.as_bytes());
        let mut second = Emulator::new(grown, 50);
        second.advance(&first.snapshot());
        for emulator in [&mut first, &mut second] {
            emulator.resize(size(2, 1));
        }
        assert_same(&first, &second, "the new size");
    }
}

proptest! {
    #[test]
    fn a_narrow_screen_is_restored(
        before in stream(),
        after in stream(),
        (cols, rows) in (1..3_u16, 1..4_u16),
    ) {
        restores(Size::new(cols, rows).unwrap(), &before, &after, assert_same);
    }
}

/// Of one column there is no room for what else shows that a line goes on below.
#[test]
fn a_line_of_one_column_goes_on_below_after_its_snapshot() {
    let lost = "\x1b[?1047haaa";
    let empty = "aa\x1b[u\x1b[K";
    for (rows, before) in [(1, lost), (1, "aaa"), (2, "aaa"), (2, empty)] {
        let size = Size::new(1, rows).unwrap();
        restores(size, before.as_bytes(), b"b\r\nc", assert_same);
    }
}

/// It is in none of the sets, so that it can only come with a cursor that was saved with it.
#[test]
fn a_charset_that_came_with_the_other_screens_cursor_is_restored() {
    let ascii_of_the_alternate = "\x1b)0\x0e\x1b7\x1b[?1047h\x1b8\x1b[?1047l";
    let lines_of_the_alternate = "\x1b[?1047h\x1b(0\x1b7\x1b(B\x1b8\x1b[?1047lab";
    for before in [ascii_of_the_alternate, lines_of_the_alternate] {
        restores(small(), before.as_bytes(), b"lqk\x0fxx\x1b8q", assert_same);
    }
    // It cannot, but what is written meanwhile goes through it all the same.
    let lines_of_the_primary = "\x1b(0\x1b7\x1b(B\x1b8\x1b[?1049h";
    let mut first = Emulator::new(small(), 50);
    first.advance(lines_of_the_primary.as_bytes());
    let mut second = Emulator::new(small(), 50);
    second.advance(&first.snapshot());
    for emulator in [&mut first, &mut second] {
        emulator.advance(b"lqk");
    }
    assert_same(&first, &second, "lines");
}
