//! The bundled backends and the example pass every clause that applies to them, and a backend
//! with a defect fails the clause that is about it.
//!
//! The libraries are built by these tests, by the cargo that runs them, so that both `cargo test`
//! and `cargo nextest run` test what the sources say now. Needs `tmux`, and root with what
//! `plugins/docker/tests` need; without them these backends are left out with a message, and with
//! `CI` set that is a failure.

#![allow(clippy::print_stderr, reason = "what is left out is said there")]

mod broken;
mod cargo;
mod docker;
#[path = "../../../../plugins/docker/tests/docker/engine.rs"]
mod engine;

use std::path::Path;
use std::process::{Command, ExitCode};

use agentd_conformance::{Outcome, Report, Settings, run, work};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("work") {
        return work();
    }
    let mut arguments = Arguments::from_args();
    // Fifty sessions at once are enough for one machine.
    arguments.test_threads.get_or_insert(1);
    let mut trials = vec![
        trial("echo", echo),
        trial("pty", pty),
        trial("tmux", tmux),
        trial("docker", docker),
        trial("sound", broken::sound),
        trial("clauses_that_do_not_exist_are_an_error", unknown_clause),
    ];
    trials.extend(
        broken::DEFECTS
            .iter()
            .map(|defect| Trial::test(defect.test_name(), || defect.check())),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(name, test)
}

/// Arguments with which this program checks one clause.
const AGAIN: &[&str] = &["work"];

fn test(library: &Path, settings: &Settings) -> Result<Report, Failed> {
    Ok(run(library, settings, AGAIN)?)
}

/// Passes when every clause passes, except for those that may not apply.
fn conforms(report: &Report, not_applicable: &[&str]) -> Result<(), Failed> {
    let skipped: Vec<&str> = report
        .verdicts
        .iter()
        .filter(|verdict| matches!(verdict.outcome, Outcome::NotApplicable { .. }))
        .map(|verdict| verdict.clause.as_str())
        .collect();
    if report.is_conformant() && skipped == not_applicable {
        return Ok(());
    }
    Err(format!("expected not to apply: {not_applicable:?}\n{report}").into())
}

/// Says what is left out, and how to get it.
fn left_out(backend: &str, missing: &str) -> Result<(), Failed> {
    if std::env::var_os("CI").is_some() {
        return Err(missing.into());
    }
    eprintln!("the conformance of {backend} was left out: {missing}");
    Ok(())
}

const PERSISTENT: &str = "adopt";
const LOGS: &str = "capability-logs";
const HEALTH_CHECK: &str = "capability-health-check";
const ATTACH_TMUX: &str = "capability-attach-tmux";
const TERMINAL: &str = "capability-terminal";
const INTERACTIVE: &str = "capability-interactive";

fn echo() -> Result<(), Failed> {
    let library = cargo::backend("echo")?;
    let report = test(&library, &Settings::default())?;
    let programs = [
        "arguments",
        "environment",
        "output",
        "last-output",
        "resize",
        "logs",
        "exit-code",
        "exit-signal",
        "terminate-tree",
        "terminate-stubborn",
        "tree-follows-agent",
    ];
    let rest = [PERSISTENT, LOGS, HEALTH_CHECK, ATTACH_TMUX];
    conforms(&report, &[&programs[..], &rest].concat())
}

fn pty() -> Result<(), Failed> {
    let library = cargo::backend("pty")?;
    let report = test(&library, &Settings::default())?;
    conforms(&report, &[PERSISTENT, LOGS, HEALTH_CHECK, ATTACH_TMUX])
}

fn tmux() -> Result<(), Failed> {
    if engine::find("tmux").is_none() {
        return left_out(
            "tmux",
            "not installed: tmux; get it with `apt-get install tmux`",
        );
    }
    let library = cargo::backend("tmux")?;
    let socket = format!("agentd-conformance-{}", std::process::id());
    let mut settings = Settings::default();
    settings
        .settings
        .insert("AGENTD_TMUX_SOCKET".to_owned(), socket.clone());
    let report = test(&library, &settings);
    // The server ends by itself with its last session, unless something went wrong.
    Command::new("tmux")
        .args(["-L", &socket, "kill-server"])
        .output()?;
    let report = report?;
    conforms(&report, &[TERMINAL, INTERACTIVE, LOGS, HEALTH_CHECK])
}

fn docker() -> Result<(), Failed> {
    if let Some(missing) = engine::missing() {
        return left_out("docker", &missing);
    }
    let library = cargo::backend("docker")?;
    let engine = docker::Engine::start()?;
    let report = test(&library, &engine.settings())?;
    conforms(&report, &["resize", TERMINAL, INTERACTIVE, ATTACH_TMUX])
}

fn unknown_clause() -> Result<(), Failed> {
    let settings = Settings {
        only: vec!["creat".to_owned()],
        ..Settings::default()
    };
    match run(Path::new("/nonexistent"), &settings, AGAIN) {
        Err(error) if error.to_string().contains("`creat`") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
