//! Measures the backends: how long the real `agentd-orchestrator` takes from `POST /agents` to the
//! agent running, beside the bare tool that does the same on the same tmux server, Docker engine or
//! Swarm, in turns in one run; many agents at once on each, and how long the next service takes to
//! have them; agents beside a backend that misbehaves; and ten thousand agents that run nothing.
//! `cargo xtask bench backends` builds and runs it.

#![expect(clippy::print_stderr, reason = "a program for people at a terminal")]

mod bare;
mod beside;
mod compare;
mod crowd;
mod docker;
mod program;
mod pty;
mod service;
mod simulated;
mod swarm;
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
    if is_due("swarm") && is_there("swarm", "docker", "apt-get install docker.io") {
        match swarm::Swarm::start() {
            Ok(swarm) => measure(&swarm, &mut table).await?,
            Err(error) => eprintln!("swarm is left out: {error}"),
        }
    }
    if is_due("beside") {
        beside::measure(&mut table).await?;
    }
    if is_due("simulated") {
        simulated::measure(&mut table).await?;
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
