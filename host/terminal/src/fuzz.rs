//! What must be true of any bytes: one function each, which panics where it is not. For fuzzing,
//! see `host/fuzz`.

use crate::same::{assert_alike, assert_same, restores};
use crate::{AnswerFilter, Emulator, LARGEST_SNAPSHOT, OutputFilter, OutputLog, Size, Transcript};

/// The sizes of the screens; the first byte of an input says which.
const SIZES: [(u16, u16); 5] = [(10, 4), (80, 24), (1, 1), (1, 3), (2, 2)];

/// The whole state of two screens is compared for one input in so many, and their snapshots for all.
const SELDOM: usize = 8;

/// A screen by all bytes is the screen by a snapshot and the bytes that follow it, and by any pieces of
/// them; it is never more work than the screen for each byte.
///
/// The input is the size, where to cut (two bytes), and output.
pub fn screen(input: &[u8]) {
    let [size, high, low, output @ ..] = input else {
        return;
    };
    let (cols, rows) = SIZES[usize::from(*size) % SIZES.len()];
    let size = Size::new(cols, rows).unwrap_or_default();
    let cut = cut(*high, *low, output);
    let (before, after) = output.split_at(cut);
    match output.len() % SELDOM {
        0 => restores(size, before, after, assert_same),
        _ => restores(size, before, after, assert_alike),
    }
    let mut whole = Emulator::new(size, 50);
    whole.advance(output);
    let mut pieces = Emulator::new(size, 50);
    let mut rest = output;
    while !rest.is_empty() {
        let read = pieces.advance_within(rest, cut as u64);
        assert!(read > 0, "no byte was read");
        rest = &rest[read..];
    }
    assert_alike(&whole, &pieces, "pieces");
    assert_eq!(whole.take_replies(), pieces.take_replies());
    let cells = u64::from(cols) * (u64::from(rows) + 1);
    assert!(whole.work() <= (64 + 2 * cells) * output.len() as u64);
    let snapshot = whole.snapshot();
    assert!(snapshot.len() <= LARGEST_SNAPSHOT);
    assert_eq!(whole.put_away().snapshot(), snapshot);
}

/// A log has exactly the last bytes, however they came; the lines made of them do not depend on that either.
///
/// The input is the capacity, where to cut (two bytes), and output.
pub fn log(input: &[u8]) {
    let [capacity, high, low, output @ ..] = input else {
        return;
    };
    let cut = cut(*high, *low, output);
    let capacity = usize::from(*capacity) * 4;
    let mut log = OutputLog::new(capacity);
    let (mut pieces, mut pieced) = (Transcript::new(Size::default()), Vec::new());
    for (index, piece) in output.chunks(cut.max(1)).enumerate() {
        if index == 1 {
            log.hold(log.head());
        }
        log.append(piece);
        pieces.advance_within(piece, u64::MAX);
        pieced.extend(pieces.take_lines());
        // A reader that follows, which makes pieces of what it reads.
        assert!(log.read(log.head().saturating_sub(1), 1).is_some() || capacity == 0);
    }
    let (head, tail) = (log.head(), log.tail());
    assert_eq!(head, output.len() as u64);
    assert!(head - tail >= (capacity as u64).min(head));
    let mut kept = Vec::new();
    while let Some(bytes) = log.read(tail + kept.len() as u64, 7)
        && !bytes.is_empty()
    {
        kept.extend_from_slice(&bytes);
    }
    let there = usize::try_from(tail).unwrap_or(usize::MAX);
    assert_eq!(kept, output.get(there..).unwrap_or_default());
    assert!(log.read(head + 1, 1).is_none());

    let mut whole = Transcript::new(Size::default());
    whole.advance_within(output, u64::MAX);
    let lines = whole.finish();
    pieced.extend(pieces.finish());
    assert_eq!(lines, pieced);
    assert!(lines.iter().all(|line| !line.contains(is_control)));
}

fn is_control(c: char) -> bool {
    c.is_control()
}

/// Nothing is added to what a person types, and what a terminal answers by itself is taken out, whole.
///
/// The input is where to cut (two bytes), and both what is typed and what a program prints.
pub fn answer_filter(input: &[u8]) {
    let [high, low, typed @ ..] = input else {
        return;
    };
    let (head, tail) = typed.split_at(cut(*high, *low, typed));
    let mut filter = AnswerFilter::new();
    let mut kept = filter.filter(head);
    kept.extend(filter.filter(tail));
    let mut rest = typed.iter();
    let in_order = kept.iter().all(|byte| rest.any(|other| other == byte));
    assert!(in_order, "{:?}", kept.escape_ascii().to_string());
    if !typed.contains(&0x1b) {
        assert_eq!(kept, typed);
    }

    let mut terminal = Emulator::new(Size::default(), 0);
    terminal.advance(typed);
    let answers = terminal.take_replies();
    let kept = AnswerFilter::new().filter(&answers);
    // A cursor in the first row is reported as a key is.
    assert!(
        kept.split_inclusive(|byte| *byte == b'R')
            .all(|key| key.starts_with(b"\x1b[1;") && key.ends_with(b"R")),
        "{:?} of {:?}",
        kept.escape_ascii().to_string(),
        answers.escape_ascii().to_string()
    );
}

/// No terminal has anything to say to what passes, in whatever pieces it comes, and what a screen shows
/// passes.
///
/// The input is where to cut (two bytes), and output.
pub fn output_filter(input: &[u8]) {
    let [high, low, output @ ..] = input else {
        return;
    };
    let whole = OutputFilter::new().filter(output).into_owned();
    let (head, tail) = output.split_at(cut(*high, *low, output));
    let mut filter = OutputFilter::new();
    let mut pieces = filter.filter(head).into_owned();
    pieces.extend_from_slice(&filter.filter(tail));
    assert_eq!(
        pieces.escape_ascii().to_string(),
        whole.escape_ascii().to_string()
    );
    let mut terminal = Emulator::new(Size::default(), 0);
    terminal.advance(&whole);
    assert_eq!(terminal.take_replies(), b"");
    terminal.advance(output);
    terminal.advance(b"\x18\x1b\\");
    let snapshot = terminal.snapshot();
    let passed = OutputFilter::new().filter(&snapshot).into_owned();
    assert_eq!(
        passed.escape_ascii().to_string(),
        snapshot.escape_ascii().to_string()
    );
}

/// A position inside of `bytes`.
fn cut(high: u8, low: u8, bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1)
}
