use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::repeat::{beside_burners, repeat};
use crate::report::Report;
use crate::tool::{find, in_ci, say};
use crate::{Result, build_ui, docs, soak, tidy, tool};

/// Tells the tests that everything is built, see `host/core/src/testing/libraries.rs`.
pub const BUILT: &str = "AGENTD_TESTS_BUILT";

/// The parts of the test suite, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Format, lints, licences, and the invariants of the architecture
    Lint,
    /// The documentation as a site, without a dead link
    Docs,
    /// The web UI by itself
    Ui,
    /// Everything in Rust, with real PTYs, tmux and Docker
    Rust,
    /// The web UI in a real browser on real services
    Browser,
    /// A long life in five minutes, on each backend
    Soak,
}

/// Tools without which something is left out, and how to get them.
const TOOLS: [(&str, &str); 11] = [
    ("cargo-deny", "cargo install cargo-deny --locked"),
    (VENV, "apt-get install python3-venv"),
    ("bwrap", "apt-get install bubblewrap"),
    ("sshd", "apt-get install openssh-server openssh-client"),
    ("tmux", "apt-get install tmux"),
    ("dockerd", "apt-get install docker.io"),
    ("docker-registry", "apt-get install docker-registry"),
    ("linux.uml", "apt-get install user-mode-linux"),
    ("prometheus", "apt-get install prometheus"),
    ("npm", "install Node.js 20 or later"),
    ("chromium", "apt-get install chromium"),
];

/// No program, but a part of Python that Debian has in this package.
const VENV: &str = "python3-venv";

/// What to run of the tests, and how.
#[derive(Args)]
pub struct Options {
    /// Only this part of them
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run the part so often, and count which tests fail in which run
    #[arg(long, value_name = "N", default_value_t = 1, requires = "only",
          value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Keep the processors busy beside it
    #[arg(long, requires = "only")]
    busy: bool,
    /// Print a table of what was attacked and broken and what came of it; write it to a file, too
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          conflicts_with_all = ["repeat", "busy"])]
    report: Option<Option<PathBuf>>,
    /// What to run of the part, as its runner takes it, such as `-p agentd-wrap terminal`
    #[arg(last = true, requires = "only")]
    filter: Vec<String>,
}

/// Runs one part, or all.
pub fn run(options: &Options) -> Result {
    name_missing_tools()?;
    let mut times = Vec::new();
    let ran = match &options.report {
        None => run_parts(options, &mut times, &mut |mut command| {
            tool::run(&mut command)
        }),
        Some(file) => {
            let mut report = Report::begin()?;
            let ran = run_parts(options, &mut times, &mut |command| report.run(command));
            report.end(file.as_deref())?;
            ran
        }
    };
    let times = times
        .iter()
        .map(|(part, time)| format!("{part:?} took {} s", time.as_secs()));
    say(&times.collect::<Vec<_>>().join(", "));
    ran
}

/// Runs them with `run`. A test that fails keeps none from being run: what comes after it has its
/// results too. Only lints stop all.
fn run_parts(
    options: &Options,
    times: &mut Vec<(Part, Duration)>,
    run: &mut dyn FnMut(Command) -> Result,
) -> Result {
    let wanted = |part: &&Part| options.only.is_none_or(|only| only == **part);
    let (lint, tests): (Vec<_>, Vec<_>) = Part::value_variants()
        .iter()
        .filter(wanted)
        .partition(|part| **part == Part::Lint);
    let mut run_part = |part: &Part| {
        say(&format!("--- {part:?}"));
        let begin = Instant::now();
        let ran = run_part(*part, options, run);
        times.push((*part, begin.elapsed()));
        ran
    };
    lint.into_iter().try_for_each(&mut run_part)?;
    each(tests, run_part)
}

/// Does it with each, also after one that fails; the error names all that failed.
fn each<T>(all: impl IntoIterator<Item = T>, run: impl FnMut(T) -> Result) -> Result {
    let failed: Vec<String> = all.into_iter().map(run).filter_map(Result::err).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("\n")),
    }
}

fn run_part(part: Part, options: &Options, run: &mut dyn FnMut(Command) -> Result) -> Result {
    if !prepare(part)? {
        return Ok(());
    }
    let commands = || commands(part, &options.filter);
    let test = || match options.repeat {
        1 if part == Part::Lint => commands().into_iter().try_for_each(run),
        1 => each(commands(), run),
        count => repeat(count, commands),
    };
    match options.busy {
        true => beside_burners(test),
        false => test(),
    }?;
    match part {
        Part::Lint => tidy::run(),
        _ => Ok(()),
    }
}

/// Nothing is skipped quietly; in CI nothing is skipped.
fn name_missing_tools() -> Result {
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(tool, _)| match *tool {
            VENV => !docs::is_possible(),
            tool => find_tool(tool).is_none(),
        })
        .collect();
    for (tool, remedy) in &missing {
        say(&format!(
            "`{tool}` is missing, so its tests are left out\nhint: {remedy}"
        ));
    }
    match in_ci() && !missing.is_empty() {
        true => Err("tools are missing, and this is CI".to_owned()),
        false => Ok(()),
    }
}

/// Also where daemons are, which is not on everybody's `PATH`.
fn find_tool(tool: &str) -> Option<PathBuf> {
    let daemon = Path::new("/usr/sbin").join(tool);
    find(tool).or_else(|| daemon.is_file().then_some(daemon))
}

/// Builds what the tests of a part run. False when they cannot be run here.
fn prepare(part: Part) -> Result<bool> {
    let builds_ui = build_ui::is_possible();
    match part {
        Part::Lint => Ok(true),
        Part::Docs if docs::is_possible() => docs::prepare().map(|()| true),
        Part::Ui if builds_ui => build_ui::run()
            .and_then(|()| build_ui::check_signatures())
            .map(|()| true),
        // The tests run the programs and load the libraries, which cargo builds only when asked.
        Part::Rust | Part::Soak => build_all().map(|()| true),
        Part::Browser if builds_ui && find("chromium").is_some() => {
            build_ui::run_if_old()?;
            build_all().map(|()| true)
        }
        Part::Docs | Part::Ui | Part::Browser => Ok(false),
    }
}

/// Everything at once: less has other features, with which all that it depends on would be compiled again.
pub fn build_all() -> Result {
    tool::run(&mut cargo(&["build", "--workspace", "--all-targets"]))
}

fn commands(part: Part, filter: &[String]) -> Vec<Command> {
    let mut commands = match part {
        Part::Lint => return lint(),
        Part::Docs => vec![docs::command()],
        Part::Ui => vec![build_ui::npm(&["test", "--"])],
        Part::Rust => return rust(filter),
        Part::Browser => return browser(filter),
        Part::Soak => vec![soak::command()],
    };
    for command in &mut commands {
        command.args(filter);
    }
    commands
}

fn lint() -> Vec<Command> {
    let mut commands = vec![
        cargo(&["fmt", "--all", "--check"]),
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "--deny",
            "warnings",
        ]),
        // What authors of backends depend on has all that a published crate needs.
        cargo(&[
            "package",
            "--quiet",
            "--no-verify",
            "--allow-dirty",
            "--package=agentd-plugin-api",
            "--package=agentd-process",
        ]),
    ];
    if find("cargo-deny").is_some() {
        commands.push(cargo(&["deny", "check", "bans", "licenses", "sources"]));
    }
    commands
}

/// Everything, or what the filter says.
fn rust(filter: &[String]) -> Vec<Command> {
    let nextest = find("cargo-nextest").is_some();
    let mut command = match nextest {
        true => cargo(&["nextest", "run", "--no-fail-fast"]),
        false => cargo(&["test", "--no-fail-fast"]),
    };
    if !filter.is_empty() {
        command.args(filter);
        return vec![command];
    }
    command.arg("--workspace");
    let mut commands = match nextest {
        true => {
            command.args([
                "-E",
                &format!("not (binary_id({DOCKER}) + binary_id({SWARM}))"),
            ]);
            vec![
                command,
                cargo(&["test", "--workspace", "--test", "docker", "--test", "swarm"]),
                cargo(&["test", "--workspace", "--doc"]),
            ]
        }
        false => vec![command],
    };
    for command in &mut commands {
        command.env(BUILT, "1");
    }
    commands
}

/// Its tests share an engine when they are in one process, and each starts its own under nextest.
const DOCKER: &str = "agentd-backend-docker::docker";
const SWARM: &str = "agentd-backend-swarm::swarm";

/// Everything, or what the filter says. What is measured is measured by itself.
fn browser(filter: &[String]) -> Vec<Command> {
    let command = |arguments: &[String]| {
        let mut command = cargo(&["test", "--workspace", "--test", "browser", "--"]);
        // They wait more than they work.
        command.arg("--test-threads=3").args(arguments);
        command.env(BUILT, "1");
        command
    };
    match filter {
        [] => vec![
            command(&["--skip=measured".to_owned()]),
            command(&["measured".to_owned()]),
        ],
        filter => vec![command(filter)],
    }
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = crate::cargo::cargo();
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_failure_is_run_and_all_failures_are_named() {
        let mut ran = Vec::new();
        let failed = each(["a", "b", "c"], |name| {
            ran.push(name);
            match name {
                "b" => Ok(()),
                _ => Err(format!("`{name}` failed")),
            }
        });
        assert_eq!(ran, ["a", "b", "c"]);
        assert_eq!(failed, Err("`a` failed\n`c` failed".to_owned()));
        assert_eq!(each(["a"], |_| Ok(())), Ok(()));
    }
}
