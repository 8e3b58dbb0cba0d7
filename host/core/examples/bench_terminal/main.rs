//! Measures the terminal engine: the real `agentd-wrap` with the `pty` backend, beside a bare
//! PTY and a bare WebSocket in the same run. `cargo xtask bench terminal` builds and runs it.

#![allow(
    clippy::exit,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for people at a terminal"
)]

mod activity;
mod attach;
mod child;
mod echo;
mod exits;
mod flood;
mod idle;
mod keeper;
mod peers;
mod reference;
mod server;
mod terminado;

use std::process::ExitCode;

use agentd_host::testing::Table;
use peers::Peers;
use terminado::Terminado;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments
        .first()
        .filter(|argument| !argument.starts_with("--"))
    {
        return child::run(role, &arguments[1..]).map(|()| ExitCode::SUCCESS);
    }
    let value = |flag: &str| {
        let index = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(index + 1).map(String::as_str)
    };
    let is_due = |part: &str| value("--only").is_none_or(|only| only == part);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut table = Table::default();
            let terminado = Terminado::install();
            if is_due("flood") {
                flood::measure(&mut table, terminado.as_ref()).await?;
            }
            if is_due("activity") {
                activity::measure(&mut table).await?;
            }
            if is_due("echo") {
                echo::measure(&mut table, terminado.as_ref()).await?;
            }
            if is_due("hostile") {
                echo::beside_hostile(&mut table).await?;
            }
            if is_due("peers")
                && let Some(peers) = Peers::build()?
            {
                peers.measure(&mut table).await?;
            }
            if is_due("attach") {
                attach::measure(&mut table).await?;
            }
            if is_due("exits") {
                exits::measure(&mut table).await?;
            }
            if is_due("keeper") {
                keeper::measure(&mut table).await?;
            }
            if is_due("idle") {
                idle::measure(&mut table).await?;
            }
            // Found out by xtask: it is the score of a test.
            if let Some(score) = value("--score") {
                let numbers = score.split_once(" of ");
                let reached = numbers.is_some_and(|(right, all)| right == all);
                table.row("restored-state score", score.to_owned(), "all", reached);
            }
            Ok(table.print(arguments.iter().any(|argument| argument == "--json")))
        })
}
