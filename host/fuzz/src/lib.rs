//! Fuzzing: what reads bytes that somebody else made, and what must be true of any of them.
//!
//! What must be true is a function beside the code that reads them: `fuzz` in `agentd-terminal`,
//! `agentd-keeper` and `agentd-host`; for what only a whole service shows, here. Two runners call it:
//!
//! - `tests/fuzz.rs` on any toolchain, for a moment in each run of the tests, with inputs made of
//!   [seeds](Target::seeds) and [words](Target::words) at random;
//! - `guided/`, which `cargo xtask fuzz` builds, for as long as one wants: libFuzzer chooses inputs by what
//!   they reach.
//!
//! What one of them finds becomes a test with its bytes, where the code is.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "what fails in the harness fails the test"
)]

mod http;
mod seeds;
mod service;
mod websocket;

use std::path::PathBuf;
use std::{env, fs};

pub use service::end_service;

/// Something that reads any bytes.
#[derive(Debug)]
pub struct Target {
    /// As one names it to `cargo xtask fuzz`.
    pub name: &'static str,
    /// Panics where what must be true is not.
    pub run: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What inputs are made of.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "elf",
        run: agentd_host::fuzz::elf,
        seeds: seeds::libraries,
        words: seeds::NUMBERS,
    },
    Target {
        name: "manifest",
        run: agentd_host::fuzz::manifest,
        seeds: seeds::manifests,
        words: seeds::JSON,
    },
    Target {
        name: "request",
        run: agentd_host::fuzz::request,
        seeds: seeds::requests,
        words: seeds::JSON,
    },
    Target {
        name: "checkpoint",
        run: agentd_host::fuzz::checkpoint,
        seeds: seeds::checkpoints,
        words: seeds::JSON,
    },
    Target {
        name: "rules",
        run: agentd_host::fuzz::rules,
        seeds: seeds::rules,
        words: seeds::RULES,
    },
    Target {
        name: "screen",
        run: agentd_terminal::fuzz::screen,
        seeds: seeds::output,
        words: seeds::SEQUENCES,
    },
    Target {
        name: "log",
        run: agentd_terminal::fuzz::log,
        seeds: seeds::output,
        words: seeds::SEQUENCES,
    },
    Target {
        name: "answer-filter",
        run: agentd_terminal::fuzz::answer_filter,
        seeds: seeds::output,
        words: seeds::SEQUENCES,
    },
    Target {
        name: "output-filter",
        run: agentd_terminal::fuzz::output_filter,
        seeds: seeds::output,
        words: seeds::SEQUENCES,
    },
    Target {
        name: "keeper",
        run: agentd_keeper::fuzz::clients,
        seeds: agentd_keeper::fuzz::seeds,
        words: seeds::NUMBERS,
    },
    Target {
        name: "http",
        run: http::any_bytes,
        seeds: http::seeds,
        words: http::WORDS,
    },
    Target {
        name: "websocket",
        run: websocket::any_frames,
        seeds: websocket::seeds,
        words: websocket::WORDS,
    },
];

/// The one of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Writes the seeds into the directory that `AGENTD_FUZZ_CORPUS` names, for a runner that reads them there.
pub fn leave_seeds(target: &Target) {
    let Some(corpus) = env::var_os("AGENTD_FUZZ_CORPUS").map(PathBuf::from) else {
        return;
    };
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
    }
}
