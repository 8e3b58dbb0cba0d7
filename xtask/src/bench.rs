use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::Result;
use crate::cargo::{build, cargo, out_dir};
use crate::tool;

/// The last version whose agents were in memory alone.
const BEFORE_RECORDS: &str = "02d0afd";

#[derive(Args)]
pub struct Options {
    #[arg(value_enum)]
    what: Bench,
    /// Print JSON instead of a table, where there is one
    #[arg(long)]
    json: bool,
    /// Measure one part alone, such as `echo` of the terminal or `lists` of the orchestrator
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// The version beside which the orchestrator's calls are measured, which is built first: a
    /// revision of git, or `none`
    #[arg(long, value_name = "REV", default_value = BEFORE_RECORDS)]
    before: String,
}

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
    /// The orchestrator's calls beside those of an older one, and how it does with many agents
    Orchestrator,
    /// How many states of a terminal other emulators restore, beside ours
    Emulators,
}

/// Builds a release and measures. The emulators are only compared, in a build for tests.
pub fn run(options: &Options) -> Result {
    let what = options.what;
    let (package, example) = match what {
        Bench::Abi => ("agentd-host", "bench_abi"),
        Bench::Start => ("agentd-host", "bench_start"),
        Bench::Terminal => ("agentd-host", "bench_terminal"),
        Bench::Backends => ("agentd-host", "bench_backends"),
        Bench::Orchestrator => ("agentd-orchestrator", "bench_orchestrator"),
        Bench::Emulators => {
            return tool::run(oracle().args(["--", "--ignored", "--nocapture"]));
        }
    };
    let packages =
        ["tmux", "docker", "swarm", "pty", "echo"].map(|name| format!("agentd-backend-{name}"));
    let mut packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    packages.extend(["agentd-orchestrator", "agentd-wrap"]);
    build(true, &packages)?;
    let mut command = cargo();
    command.args(["run", "--release", "--package", package]);
    if package == "agentd-host" {
        command.args(["--features", "testing"]);
    }
    command.args(["--example", example, "--"]);
    if options.json {
        command.arg("--json");
    }
    if let Some(part) = &options.only {
        command.args(["--only", part]);
    }
    if what == Bench::Orchestrator {
        let mut crashing = cargo();
        crashing.args(["build", "--release", "--package", package]);
        tool::run(crashing.args(["--example", "crashing"]))?;
        if options.before != "none" {
            command.arg("--before").arg(build_before(&options.before)?);
        }
    }
    if what == Bench::Terminal {
        match restored_states() {
            Ok(score) => drop(command.args(["--score", &score])),
            Err(error) => tool::say(&format!("the restored-state score is left out: {error}")),
        }
    }
    tool::run(&mut command)
}

/// Builds the orchestrator of that version: the directory with the program and the libraries.
fn build_before(revision: &str) -> Result<PathBuf> {
    let place = out_dir(true).with_file_name("before");
    let sources = place.join(revision);
    if !sources.exists() {
        let mut checkout = Command::new("git");
        // A worktree that was removed with `target` may still be known.
        checkout.args(["worktree", "add", "--force", "--detach"]);
        tool::run(checkout.arg(&sources).arg(revision))?;
    }
    let built = place.join("build");
    let mut build = cargo();
    build.args(["build", "--release", "--manifest-path"]);
    build.arg(sources.join("Cargo.toml")).arg("--target-dir");
    build.arg(&built);
    for package in ["agentd-orchestrator", "agentd-backend-pty"] {
        build.args(["--package", package]);
    }
    tool::run(&mut build)?;
    Ok(built.join("release"))
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
