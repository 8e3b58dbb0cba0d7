//! What a byte may cost: no output of n bytes is more work than k·n, where k is the screen's size.

use proptest::prelude::*;

use crate::emulator::Emulator;
use crate::hostile;
use crate::size::Size;

const SCROLLBACK: usize = 100;

/// What a byte of output may cost: a few times what the screen holds.
fn most_per_byte(size: Size) -> u64 {
    let (cols, rows) = (u64::from(size.cols()), u64::from(size.rows()));
    64 + 2 * cols * (rows + 1)
}

#[track_caller]
fn check(name: &str, size: Size, bytes: &[u8]) {
    let mut emulator = Emulator::new(size, SCROLLBACK);
    emulator.advance(bytes);
    let most = most_per_byte(size) * bytes.len() as u64;
    let work = emulator.work();
    assert!(
        work <= most,
        "{name} on {size}: {work} for {} bytes, more than {most}",
        bytes.len()
    );
}

fn sizes() -> Vec<Size> {
    [(1, 1), (20, 6), (80, 24)]
        .map(|(cols, rows)| Size::new(cols, rows).unwrap_or_default())
        .to_vec()
}

/// Attack: cursor numbers and repetitions of 2^31, open sequences, marks. Then: a byte costs no more
/// than the screen.
#[test]
fn hostile_output_costs_no_more_than_the_screen_for_each_byte() {
    for input in hostile::inputs() {
        for size in sizes() {
            check(input.name, size, &input.bytes(4_000));
        }
    }
}

/// The size at which a byte may cost most. Fewer bytes, as each may cost a million cells.
#[test]
fn hostile_output_costs_no_more_than_the_largest_screen_for_each_byte() {
    let size = Size::new(1000, 1000).unwrap_or_default();
    assert_eq!((size.cols(), size.rows()), (1000, 1000));
    for input in hostile::inputs() {
        check(input.name, size, &input.bytes(40));
    }
}

/// What the repetition of one byte's work by the parser cost once: the whole sequence.
#[test]
fn an_unfinished_sequence_is_looked_at_once() {
    for name in [
        "a malformed CSI kept open",
        "a malformed DCS kept open",
        "an OSC kept open",
    ] {
        let input = hostile::inputs()
            .into_iter()
            .find(|input| input.name == name);
        let bytes = input.map(|input| input.bytes(500_000)).unwrap_or_default();
        let mut emulator = Emulator::new(Size::default(), 0);
        emulator.advance(&bytes);
        assert!(
            emulator.work() <= 4 * bytes.len() as u64,
            "{name}: {}",
            emulator.work()
        );
    }
}

#[test]
fn a_step_ends_when_its_work_is_done() {
    for input in hostile::inputs() {
        for size in sizes() {
            let bytes = input.bytes(1_000);
            let mut whole = Emulator::new(size, SCROLLBACK);
            whole.advance(&bytes);
            let mut steps = Emulator::new(size, SCROLLBACK);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let before = steps.work();
                let read = steps.advance_within(rest, 1000);
                assert!(read > 0, "{}", input.name);
                rest = &rest[read..];
                // One sequence more than what was asked for, and no sequence costs more than this.
                let cells = u64::from(size.cols()) * (u64::from(size.rows()) + SCROLLBACK as u64);
                let most = 1000 + 2 * (cells + 65_536) + 1024 * u64::from(size.cols());
                let work = steps.work() - before;
                assert!(work <= most, "{} on {size}: {work}", input.name);
            }
            assert_eq!(
                whole.snapshot(),
                steps.snapshot(),
                "{} on {size}",
                input.name
            );
        }
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        Just(String::new()),
        (0..200_u32).prop_map(|n| n.to_string()),
        Just("2147483647".to_string()),
    ];
    let csi = (
        prop::sample::select(vec!["", "?", ">", "="]),
        prop::collection::vec(number, 0..3),
        prop::sample::select(vec!["", "'", " ", "$", "\"", "!"]),
        0x40..0x7f_u8,
    )
        .prop_map(|(prefix, params, intermediate, last)| {
            let params = params.join(";");
            format!("\x1b[{prefix}{params}{intermediate}{}", char::from(last)).into_bytes()
        });
    let modes = "4|20|\\?6|\\?7|\\?45|\\?47|\\?1047|\\?1049|\\?1048";
    let mode = (modes, "[hl]").prop_map(|(mode, on)| format!("\x1b[{mode}{on}").into_bytes());
    let hostile = prop::sample::select(hostile::inputs());
    let hostile = (hostile, 1..400_usize).prop_map(|(input, length)| {
        let mut bytes = input.bytes(length);
        bytes.truncate(length);
        bytes
    });
    prop_oneof![
        4 => csi,
        2 => mode,
        1 => hostile,
        1 => "\x1b[ -~]".prop_map(String::into_bytes),
        2 => "[ -~é漢\u{301}\u{85}\u{feff}]{1,20}".prop_map(String::into_bytes),
        1 => "\x1b\\[4[0-9]m|\x1b\\[[0-9]{1,2};[0-9]{1,2}[rH]".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_output_costs_more_than_the_screen_for_each_byte(
        cols in 1..100_u16,
        rows in 1..30_u16,
        pieces in prop::collection::vec(piece(), 1..60),
    ) {
        check("random output", Size::new(cols, rows).unwrap_or_default(), &pieces.concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_output_costs_more_than_the_largest_screen_for_each_byte(
        pieces in prop::collection::vec(piece(), 1..8),
    ) {
        let bytes = pieces.concat();
        let bytes = &bytes[..bytes.len().min(100)];
        check("random output", Size::new(1000, 1000).unwrap_or_default(), bytes);
    }
}
