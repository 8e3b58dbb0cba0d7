//! Measures the backends: how long the real `agentd-orchestrator` takes from `POST /agents` to the
//! agent running, beside the bare tool that does the same on the same tmux server or Docker
//! engine, in turns in one run; and fifty agents at once on each. `cargo xtask bench backends`
//! builds and runs it.

#![expect(clippy::print_stderr, reason = "a program for people at a terminal")]

mod bare;
mod compare;
mod crowd;
mod docker;
mod program;
mod pty;
mod service;
mod tmux;

use std::process::ExitCode;

use agentd_host::testing::Table;
use bare::Bare;

type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let only = arguments.iter().position(|argument| argument == "--only");
    let only = only.and_then(|index| arguments.get(index + 1));
    let is_due = |backend: &str| only.is_none_or(|only| only == backend);
    let mut table = Table::default();
    if is_due("pty") {
        measure(&pty::Processes::default(), &mut table).await?;
    }
    if is_due("tmux") && is_there("tmux", "tmux", "apt-get install tmux") {
        measure(&tmux::Tmux::start()?, &mut table).await?;
    }
    if is_due("docker") && is_there("docker", "docker", "apt-get install docker.io") {
        match docker::Docker::start() {
            Ok(docker) => measure(&docker, &mut table).await?,
            Err(error) => eprintln!("docker is left out: {error}"),
        }
    }
    Ok(table.print(arguments.iter().any(|argument| argument == "--json")))
}

async fn measure(bare: &impl Bare, table: &mut Table) -> Result {
    compare::measure(bare, table).await?;
    crowd::measure(bare, table).await
}

/// Whether the tool is on `PATH`; says so if not.
fn is_there(backend: &str, tool: &str, remedy: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    if !there {
        eprintln!("{backend} is left out: `{tool}` is missing\nhint: {remedy}");
    }
    there
}
