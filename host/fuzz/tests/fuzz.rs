//! Each target for a moment: what is known to get far, changed, and pieces of all kinds in a row. The inputs and
//! their order are those of every other run; new ones are looked for by `cargo xtask fuzz`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentd_fuzz::{TARGETS, Target, end_service, target};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};

/// How long each target is run.
const MOMENT: Duration = Duration::from_secs(2);

/// Inputs between two looks at the clock.
const BATCH: u32 = 32;

/// What is done to an input.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Vec<u8>),
    Overwrite(Vec<u8>),
    Remove(usize),
    Repeat(usize),
}

fn piece(words: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..6),
        1 => "[ -~]{1,6}".prop_map(String::into_bytes),
    ]
}

fn edit(words: &'static [&'static [u8]]) -> impl Strategy<Value = Edit> {
    prop_oneof![
        piece(words).prop_map(Edit::Insert),
        piece(words).prop_map(Edit::Overwrite),
        (1..40_usize).prop_map(Edit::Remove),
        (1..40_usize).prop_map(Edit::Repeat),
    ]
}

fn edited(mut input: Vec<u8>, edits: Vec<(Index, Edit)>) -> Vec<u8> {
    for (place, edit) in edits {
        let at = place.index(input.len() + 1);
        let end = |length: usize| input.len().min(at + length);
        match edit {
            Edit::Insert(bytes) => drop(input.splice(at..at, bytes)),
            Edit::Overwrite(bytes) => drop(input.splice(at..end(bytes.len()), bytes)),
            Edit::Remove(length) => drop(input.drain(at..end(length))),
            Edit::Repeat(length) => {
                let again = input[at..end(length)].to_vec();
                input.splice(at..at, again);
            }
        }
    }
    input
}

fn input(target: &Target) -> impl Strategy<Value = Vec<u8>> + use<> {
    let words = target.words;
    let edits = prop::collection::vec((any::<Index>(), edit(words)), 0..8);
    let changed = (prop::sample::select((target.seeds)()), edits)
        .prop_map(|(seed, edits)| edited(seed, edits));
    let pieces = prop::collection::vec(piece(words), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![2 => changed, 1 => pieces]
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "counted for whoever reads the report")]
fn fuzz(name: &str) {
    // Two of them share a service, where tests share a process.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target(name).unwrap();
    for seed in (target.seeds)() {
        (target.run)(&seed);
    }
    let config = Config {
        cases: BATCH,
        failure_persistence: None,
        ..Config::default()
    };
    let (inputs, executions) = (input(target), Cell::new(0_u64));
    let mut source = TestRunner::deterministic();
    let begin = Instant::now();
    while begin.elapsed() < MOMENT {
        // One is done when it has run its cases.
        let mut runner = TestRunner::new_with_rng(config.clone(), source.new_rng());
        let run = runner.run(&inputs, |input| {
            executions.set(executions.get() + 1);
            (target.run)(&input);
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => {
                println!("fuzz {name}: {} executions, 1 faults", executions.get());
                panic!("{name}: {reason}\nb\"{}\"", input.escape_ascii())
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    println!("fuzz {name}: {} executions, 0 faults", executions.get());
    end_service();
}

macro_rules! each {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            fuzz($name);
        })*

        #[test]
        fn every_target_is_run() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

each! {
    elf "elf"
    manifest "manifest"
    request "request"
    checkpoint "checkpoint"
    rules "rules"
    screen "screen"
    log "log"
    answer_filter "answer-filter"
    output_filter "output-filter"
    keeper "keeper"
    http "http"
    websocket "websocket"
}
