//! The bundled rules beside what real programs wrote to a terminal.
//!
//! A recording is an asciicast of version 2. Its marks say what the program did there, as a person saw it:
//! a state, and for `waiting` the reason that a rule is to give.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use agentd_api::ActivityState;
use agentd_terminal::{Emulator, Size};
use serde_json::Value;

use super::rules::{Picture, Rules, Verdict};

const RECORDINGS: [(&str, &str); 5] = [
    ("claude", include_str!("recordings/claude.cast")),
    ("codex", include_str!("recordings/codex.cast")),
    ("opencode", include_str!("recordings/opencode.cast")),
    ("gemini", include_str!("recordings/gemini.cast")),
    ("bash", include_str!("recordings/bash.cast")),
];

/// Programs in which a person works: nowhere do they wait. Their recordings are those of the emulator.
const QUIET: [&str; 4] = ["vim", "htop", "less", "tmux"];

/// At so many places each of them is looked at.
const CUTS: usize = 50;

/// What the rules said at the marks of one program.
#[derive(Default)]
struct Score {
    /// Whoever waits is shown as waiting, and the like.
    hits: u32,
    /// Waiting is shown of who does not wait.
    alarms: u32,
    /// Something else is wrong.
    misses: u32,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score {
            hits,
            alarms,
            misses,
        } = self;
        write!(f, "{hits:>6} {alarms:>13} {misses:>7}")
    }
}

/// A mark, and what is shown there once the program has printed nothing for long.
struct Look {
    at: String,
    expected: String,
    shown: String,
    screen: String,
}

/// Plays a recording, and looks at the screen at each mark.
fn looks(program: &str, recording: &str) -> Vec<Look> {
    let rules = Rules::bundled().of(&[program.to_owned()]);
    let mut lines = recording
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line}: {e}")));
    let head = lines.next().unwrap();
    let side = |name: &str| u16::try_from(head[name].as_u64().unwrap()).unwrap();
    let mut emulator = Emulator::new(Size::new(side("width"), side("height")).unwrap(), 0);
    let mut looks = Vec::new();
    for event in lines {
        let data = event[2].as_str().unwrap();
        match event[1].as_str().unwrap() {
            "o" => emulator.advance(data.as_bytes()),
            "m" => {
                let picture = picture(&emulator);
                looks.push(Look {
                    at: event[0].to_string(),
                    expected: data.to_owned(),
                    shown: shown(rules.judge(&picture)),
                    screen: picture.lines.join("\n"),
                });
            }
            kind => panic!("{program}: the event `{kind}` is not known"),
        }
    }
    looks
}

fn picture(emulator: &Emulator) -> Picture {
    Picture {
        lines: emulator.screen_text(),
        cursor: Some(emulator.cursor()),
        title: emulator.title().to_owned(),
    }
}

/// Of what the rules say nothing, and which prints nothing, it is shown that it is idle.
fn shown(verdict: Option<Verdict>) -> String {
    let (state, reason) = verdict.map_or((ActivityState::Idle, None), |verdict| {
        (verdict.state, verdict.reason)
    });
    let state = serde_json::to_value(state).unwrap();
    let state = state.as_str().unwrap();
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state} {reason}"))
}

/// The table is printed with `--no-capture`.
#[test]
fn programs_are_seen_as_they_were_recorded() {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let mut wrong = String::new();
    for (program, recording) in RECORDINGS {
        let score = scores.entry(program).or_default();
        for look in looks(program, recording) {
            let Look {
                at,
                expected,
                shown,
                screen,
            } = look;
            if shown == expected {
                score.hits += 1;
                continue;
            }
            if shown.starts_with("waiting") && !expected.starts_with("waiting") {
                score.alarms += 1;
            } else {
                score.misses += 1;
            }
            wrong += &format!("{program} at {at}: `{shown}` and not `{expected}` on\n{screen}\n");
        }
    }
    println!(
        "{:<10} {:>6} {:>13} {:>7}",
        "program", "hits", "false alarms", "misses"
    );
    for (program, score) in &scores {
        println!("{program:<10} {score}");
        assert!(
            score.hits > 0 || !wrong.is_empty(),
            "{program} has no marks"
        );
    }
    assert_eq!(wrong, "");
}

#[test]
fn programs_in_which_a_person_works_do_not_wait() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../terminal/tests/recordings");
    for program in QUIET {
        let rules = Rules::bundled().of(&[program.to_owned()]);
        let bytes = fs::read(recordings.join(format!("{program}.raw"))).unwrap();
        let mut emulator = Emulator::new(Size::default(), 0);
        for part in bytes.chunks(bytes.len().div_ceil(CUTS)) {
            emulator.advance(part);
            let picture = picture(&emulator);
            let shown = shown(rules.judge(&picture));
            let screen = picture.lines.join("\n");
            assert!(
                !shown.starts_with("waiting"),
                "{program}: `{shown}` on\n{screen}"
            );
        }
    }
}
