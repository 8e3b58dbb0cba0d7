use std::process::Command;

use clap::ValueEnum;

use crate::Result;
use crate::cargo::{build, cargo};
use crate::tool;

/// What can be measured. Each prints ratios beside a reference of the same run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// Calls and chunks across the library boundary, beside direct ones
    Abi,
    /// From the start of the program to its first answer
    Start,
    /// The terminal engine, beside a bare PTY
    Terminal,
    /// Creating agents through each backend, beside the bare tool
    Backends,
    /// How many states of a terminal other emulators restore, beside ours
    Emulators,
}

/// Builds a release and measures. The emulators are only compared, in a build for tests.
pub fn run(what: Bench, json: bool) -> Result {
    let example = match what {
        Bench::Abi => "bench_abi",
        Bench::Start => "bench_start",
        Bench::Terminal => "bench_terminal",
        Bench::Backends => "bench_backends",
        Bench::Emulators => {
            return tool::run(oracle().args(["--", "--ignored", "--nocapture"]));
        }
    };
    let packages = ["tmux", "docker", "pty", "echo"].map(|name| format!("agentd-backend-{name}"));
    let mut packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    packages.extend(["agentd-orchestrator", "agentd-wrap"]);
    build(true, &packages)?;
    if what == Bench::Backends {
        // Where a private Docker engine comes from.
        let mut engine = cargo();
        engine.args(["build", "--release", "--package", "agentd-backend-docker"]);
        tool::run(engine.args(["--example", "engine"]))?;
    }
    let mut command = cargo();
    command.args(["run", "--release", "--package", "agentd-host"]);
    command.args(["--features", "testing", "--example", example, "--"]);
    if json {
        command.arg("--json");
    }
    if what == Bench::Terminal {
        match restored_states() {
            Ok(score) => drop(command.args(["--score", &score])),
            Err(error) => tool::say(&format!("the restored-state score is left out: {error}")),
        }
    }
    tool::run(&mut command)
}

/// How many states a snapshot restores as the oracle has them, of how many.
fn restored_states() -> Result<String> {
    let printed = tool::output(oracle().args(["--", "--nocapture"]))?;
    let score = |line: &str| Some(line.split_once("restored-state score: ")?.1.to_owned());
    printed
        .lines()
        .find_map(score)
        .ok_or_else(|| "the oracle printed no score: install Node.js, which it needs".to_owned())
}

/// The test that compares snapshots with xterm.js.
fn oracle() -> Command {
    let mut command = cargo();
    command.args(["test", "--package", "agentd-terminal", "--test", "oracle"]);
    command
}
