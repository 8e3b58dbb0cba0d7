//! Measures the orchestrator: its calls beside those of the version before agents were kept on the
//! disk, lists and memory of many agents, a start with many agents that run, events to many
//! listeners, and what kills of the service lose. `cargo xtask bench orchestrator` builds and runs
//! it.

#![allow(
    missing_docs,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for people at a terminal, which ends where something fails"
)]

mod adoption;
mod calls;
mod crashes;
mod listeners;
mod lists;
#[path = "../../tests/crash/load.rs"]
mod load;
#[path = "../../tests/crash/points.rs"]
mod points;
#[path = "../../tests/crash/world.rs"]
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use agentd_host::testing::{Random, RunningProgram, Table, TestProgram, profile_dir};
use rustix::process::Signal;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let index = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(index + 1).map(String::as_str)
    };
    let is_due = |part: &str| value("--only").is_none_or(|only| only == part);
    let mut table = Table::default();
    if is_due("calls") {
        calls::measure(value("--before").map(Path::new), &mut table).await;
    }
    if is_due("lists") {
        lists::measure(&mut table).await;
    }
    if is_due("listeners") {
        listeners::measure(&mut table).await;
    }
    if is_due("adoption") {
        adoption::measure(&mut table).await;
    }
    if is_due("crashes") {
        crashes::measure(&mut table).await;
    }
    table.print(arguments.iter().any(|argument| argument == "--json"))
}

/// The service in a directory, as it was built.
fn built(directory: &Path) -> TestProgram {
    TestProgram::built("agentd-orchestrator", directory).env("RUST_LOG", "warn")
}

/// The service that was built beside this program.
fn orchestrator() -> TestProgram {
    built(&profile_dir())
}

/// Asks the service to end, and waits for that.
async fn end(service: &mut RunningProgram) {
    service.signal(Signal::TERM);
    service.ended().await;
}

/// Another sequence each time.
fn random() -> Random {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Random::new(u64::from(since_1970.subsec_nanos()), 0)
}

/// Those out of a thousand that so many are not above.
fn percentile(values: &mut [f64], per_mille: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * per_mille / 1000).min(values.len() - 1)]
}
