use proptest::prelude::*;

use super::*;
use crate::emulator::Emulator;

fn size(cols: u16, rows: u16) -> Size {
    Size::new(cols, rows).unwrap()
}

fn lines_on(size: Size, output: &str) -> Vec<String> {
    let mut transcript = Transcript::new(size);
    transcript.advance_within(output.as_bytes(), u64::MAX);
    transcript.finish()
}

fn lines(output: &str) -> Vec<String> {
    lines_on(size(20, 5), output)
}

/// What a follower gets that reads each of these to its end, and what comes last.
fn followed(pieces: &[&str]) -> (Vec<Vec<String>>, Vec<String>) {
    let mut transcript = Transcript::new(size(20, 8));
    let taken = pieces.iter().map(|piece| {
        transcript.advance_within(piece.as_bytes(), u64::MAX);
        transcript.settle();
        transcript.take_lines()
    });
    let taken = taken.collect();
    (taken, transcript.finish())
}

#[test]
fn plain_text() {
    assert_eq!(lines("one\r\ntwo\r\n\r\nfour"), ["one", "two", "", "four"]);
    assert!(lines("").is_empty());
    let many: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    assert_eq!(lines(&many.join("\r\n")), many);
}

#[test]
fn escape_sequences_are_removed() {
    assert_eq!(
        lines("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\r\n"),
        ["red text"]
    );
    assert_eq!(lines("a\x1bPq#0\x1b\\b\x1b_x\x1b\\c\x1b(Bd\r\n"), ["abcd"]);
}

#[test]
fn a_line_that_is_rewritten_is_given_once() {
    assert_eq!(lines("10%\r20%\r100%\r\n"), ["100%"]);
    assert_eq!(lines("abcdef\rxy\r\n"), ["xycdef"]);
    assert_eq!(lines("abcdef\r\x1b[Kxy\r\n"), ["xy"]);
    assert_eq!(lines("a\r\nb\r\n\x1b[2A\x1b[Kc\x1b[2B\rd"), ["c", "b", "d"]);
}

#[test]
fn wrapped_lines_are_one() {
    let long = "0123456789".repeat(7) + "end";
    let output = format!("{long}\r\n").repeat(4) + "漢字漢字漢字漢字漢字漢";
    let mut expected = vec![long; 4];
    expected.push("漢字漢字漢字漢字漢字漢".to_owned());
    assert_eq!(lines(&output), expected);
    assert_eq!(lines_on(size(21, 5), &output), expected);
    // A blank at the margin is a part of the line.
    assert_eq!(lines(&format!("{:19} x", "y")), [format!("{:19} x", "y")]);
}

#[test]
fn lines_are_bounded() {
    let lines = lines(&"y".repeat(3 * LONGEST_LINE));
    assert!(lines.len() >= 3);
    assert!(lines.iter().all(|line| line.len() < LONGEST_LINE + 20));
    assert_eq!(lines.concat().len(), 3 * LONGEST_LINE);
}

#[test]
fn the_alternate_screen_gives_what_it_showed_last() {
    let full = "before\r\n\x1b[?1049h\x1b[Hone\x1b[3;1Htwo\x1b[Hnow";
    assert_eq!(lines(full), ["before", "now", "", "two"]);
    let left = format!("{full}\x1b[?1049lafter");
    assert_eq!(lines(&left), ["before", "now", "", "two", "after"]);
    // Many erase it before they leave.
    let erased = format!("{full}\x1b[2J\x1b[?1049lafter");
    assert_eq!(lines(&erased), ["before", "now", "", "two", "after"]);
}

#[test]
fn an_erased_screen_was_read() {
    assert_eq!(
        lines("one\r\ntwo\r\n\x1b[H\x1b[2J\x1b[3Jthree"),
        ["one", "two", "three"]
    );
    assert_eq!(lines("one\r\ntwo\r\n\x1bcthree"), ["one", "two", "three"]);
}

/// As Ink draws: up to where the last frame began, erasing line by line, and all of it anew.
fn inline(frames: &[(&[&str], &[&str])]) -> Vec<String> {
    let mut below = 0;
    let frames = frames.iter().map(|(done, drawn)| {
        let up = "\x1b[2K\x1b[1A".repeat(below);
        below = drawn.len();
        let new: String = done
            .iter()
            .chain(*drawn)
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("{up}\x1b[2K\x1b[G{new}")
    });
    frames.collect()
}

const FRAMES: &[(&[&str], &[&str])] = &[
    (&[], &["╭──╮", "│> │", "╰──╯"]),
    (&["> hello"], &["* thinking 1s", "╭──╮", "│> │", "╰──╯"]),
    (&[], &["* thinking 2s", "╭──╮", "│> │", "╰──╯"]),
    (
        &["first answer", "", "second answer"],
        &["* thinking 3s", "╭──╮", "│> │", "╰──╯"],
    ),
    (
        &["third", "fourth", "fifth"],
        &["╭──╮", "│> │", "╰──╯", "done"],
    ),
];

const READ: &[&str] = &[
    "> hello",
    "first answer",
    "",
    "second answer",
    "third",
    "fourth",
    "fifth",
    "╭──╮",
    "│> │",
    "╰──╯",
    "done",
];

#[test]
fn what_is_drawn_inline_is_read_once() {
    let output = inline(FRAMES).concat();
    assert_eq!(lines_on(size(20, 8), &output), READ);
    assert_eq!(lines_on(size(20, 40), &output), READ);
}

/// As Ink does when what it draws has grown beyond the screen.
#[test]
fn what_is_drawn_again_from_its_beginning_is_read_once() {
    let history: Vec<String> = (0..30).map(|n| format!("said {n}")).collect();
    let all = format!("{}\r\n\r\n", history.join("\r\n"));
    let mut expected = history;
    expected.extend(["", "prompt"].map(str::to_owned));
    for clear in [
        "\x1b[2J\x1b[3J\x1b[H",
        "\x1b[H\x1b[K\x1b[B\x1b[K\x1b[B\x1b[K\x1b[B\x1b[K\x1b[B\x1b[K\x1b[H",
    ] {
        assert_eq!(
            lines(&format!("{all}{clear}{all}{clear}{all}prompt")),
            expected
        );
    }
}

#[test]
fn who_follows_what_is_drawn_inline_gets_each_line_once() {
    let output = inline(FRAMES);
    let pieces: Vec<&str> = output.iter().map(String::as_str).collect();
    let (taken, rest) = followed(&pieces);
    let mut all: Vec<String> = taken.concat();
    all.extend(rest);
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let expected = READ.iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(sorted(all), sorted(expected));
}

/// Lines that go above a part of the screen by a region that scrolls, as codex writes them.
#[test]
fn what_scrolls_above_a_drawn_part_is_read_once() {
    let mut output = "\x1b[7;1Hdrawn\x1b[8;1Hpart".to_owned();
    for n in 0..20 {
        output += &format!("\x1b[1;6r\x1b[6;1H\r\nline {n}\x1b[r\x1b[7;1Hdrawn {n}\x1b[8;1Hpart");
    }
    let read = lines_on(size(20, 8), &output);
    let read: Vec<&str> = read
        .iter()
        .map(String::as_str)
        .skip_while(|line| line.is_empty())
        .collect();
    let mut expected: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
    expected.extend(["drawn 19".to_owned(), "part".to_owned()]);
    assert_eq!(read, expected);
}

#[test]
fn who_follows_gets_a_line_when_the_cursor_has_left_it() {
    let (taken, rest) = followed(&["one\r\ntw", "o\r\n10%", "\r100%", "\r\n$ "]);
    assert_eq!(taken, [vec!["one"], vec!["two"], vec![], vec!["100%"]]);
    assert_eq!(rest, ["$"]);
}

#[test]
fn a_size_changes_no_line() {
    let long = "0123456789".repeat(5);
    let mut transcript = Transcript::new(size(20, 5));
    let mut given = Vec::new();
    for (index, cols) in [30, 10, 60, 20].into_iter().enumerate() {
        transcript.advance_within(format!("{long} {index}\r\n").as_bytes(), u64::MAX);
        transcript.settle();
        transcript.resize(size(cols, 4 + index as u16));
        given.extend(transcript.take_lines());
    }
    given.extend(transcript.finish());
    let expected: Vec<String> = (0..4).map(|index| format!("{long} {index}")).collect();
    assert_eq!(given, expected);
}

#[test]
fn one_that_begins_late_adopts_what_is_known() {
    let mut emulator = Emulator::new(size(20, 5), 100);
    emulator.advance(b"kept\r\n\x1b[?1049h\x1b[Hscreen\x1b[3;3H");
    let mut transcript = Transcript::begun_late(size(20, 5), false);
    transcript.advance_within(b"early\r\n", u64::MAX);
    transcript.adopt(size(20, 5), &emulator.plain_snapshot(1 << 16).unwrap());
    assert_eq!(transcript.take_lines(), [""; 0]);
    transcript.advance_within(b"more\x1b[?1049lend", u64::MAX);
    assert_eq!(transcript.finish(), ["kept", "screen", "", "  more", "end"]);
}

#[test]
fn a_full_screen_program_gives_its_last_screen() {
    let recording = include_bytes!("../../tests/recordings/htop.raw");
    let mut transcript = Transcript::new(Size::default());
    transcript.advance_within(recording, u64::MAX);
    let lines = transcript.finish();
    assert!(lines.len() <= 24, "{} lines", lines.len());
    assert!(lines.iter().any(|line| line.contains("PID")), "{lines:#?}");
}

/// Without it a step of what only the transcript does would keep a thread for long.
#[test]
fn what_a_transcript_does_beside_the_screen_is_counted() {
    for output in ["\x1b#8\x1b[2J", "\x1b#8\x1b[?1049h\x1b#8\x1b[?1049l"] {
        let output = output.repeat(10);
        let mut emulator = Emulator::new(size(200, 100), 0);
        emulator.advance(output.as_bytes());
        let mut transcript = Transcript::new(size(200, 100));
        transcript.advance_within(output.as_bytes(), u64::MAX);
        let (screen, all) = (emulator.work(), transcript.reading.work());
        assert!(
            all >= screen + 10 * 200 * 100,
            "{output:?}: {all} of {screen}"
        );
    }
}

/// The bound of the screen, with a few times its cells for each byte.
#[test]
fn hostile_output_costs_a_transcript_no_more_than_a_few_screens_for_each_byte() {
    let mut inputs: Vec<(&str, Vec<u8>)> = crate::hostile::inputs()
        .into_iter()
        .map(|input| (input.name, input.bytes(4_000)))
        .collect();
    let long = format!("{}\r\n", "x".repeat(4_000)).repeat(1_000);
    inputs.push(("filled and erased", b"\x1b#8\x1b[2J".repeat(400)));
    inputs.push((
        "long lines drawn again",
        [long.as_bytes(), &b"\x1b[H\x1b[999B\n".repeat(2_000)].concat(),
    ));
    inputs.push((
        "screens left and rewound",
        b"\x1b#8\x1b[999H\x1b[?1049hx\x1b[?1049l\x1b[H".repeat(100),
    ));
    for (name, bytes) in inputs {
        for size in [size(1, 1), size(20, 6), size(80, 24)] {
            let mut transcript = Transcript::new(size);
            transcript.advance_within(&bytes, u64::MAX);
            let cells = u64::from(size.cols()) * (u64::from(size.rows()) + 1);
            let most = (64 + RECENT as u64 / 4 + 8 * cells) * bytes.len() as u64;
            let work = transcript.reading.work();
            assert!(work <= most, "{name} on {size}: {work}, more than {most}");
        }
    }
}

#[test]
fn recorded_agents_read_like_their_screens() {
    for (name, recording) in [
        (
            "claude",
            &include_bytes!("../../tests/recordings/claude.raw")[..],
        ),
        ("codex", include_bytes!("../../tests/recordings/codex.raw")),
    ] {
        let mut emulator = Emulator::new(Size::default(), 1000);
        emulator.advance(recording);
        let mut transcript = Transcript::new(Size::default());
        transcript.advance_within(recording, u64::MAX);
        let lines = transcript.finish();
        for line in emulator.last_lines(24) {
            let is_read = lines.iter().any(|other| other.contains(&line));
            assert!(is_read, "{name}: `{line}` in {lines:#?}");
        }
        let mut long: Vec<&String> = lines.iter().filter(|line| line.contains("  ")).collect();
        long.sort();
        let count = long.len();
        long.dedup();
        assert_eq!(long.len(), count, "{name}: {lines:#?}");
    }
}

proptest! {
    #[test]
    fn output_may_be_cut_anywhere(text in "(é|漢|[a-z]|\x1b\\[3[0-7]m|\x1b\\[[AHJLM]|\x1b\\[2J|\r|\n|\x08){0,60}", cut in 0..200_usize) {
        let bytes = text.as_bytes();
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut transcript = Transcript::new(size(20, 5));
        transcript.advance_within(first, u64::MAX);
        let mut cut_lines = transcript.take_lines();
        transcript.advance_within(second, u64::MAX);
        cut_lines.extend(transcript.finish());
        prop_assert_eq!(cut_lines, lines(&text));
    }

    /// Of what never goes back, who follows gets exactly the same.
    #[test]
    fn who_follows_gets_the_same(pieces in prop::collection::vec("([a-z]{1,30}|漢|\t|\r\n){0,5}", 0..30)) {
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let (taken, rest) = followed(&pieces);
        let mut all = taken.concat();
        all.extend(rest);
        prop_assert_eq!(all, lines_on(size(20, 8), &pieces.concat()));
    }
}
