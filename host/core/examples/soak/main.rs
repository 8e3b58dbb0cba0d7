//! A service as it is used for a long time: agents that start, print, flood, are restarted and
//! deleted, viewers and followers that come, stall, leave and return, requests that are given up
//! halfway. At the end nothing may be left of it. Run by `cargo xtask soak`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails the soak, and is printed"
)]

mod backend;
mod inventory;
mod life;
mod program;
mod soak;
mod tally;
mod visit;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use futures_util::future::join_all;

use crate::backend::{Backend, BackendName};
use crate::soak::Soak;
use crate::tally::Tally;

#[derive(Parser)]
struct CommandLine {
    /// How long in all
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Only this backend; else all at the same time
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
    /// Decides what is done in which order; another one each time when it is not set
    #[arg(long)]
    seed: Option<u64>,
    /// Only these operations, to find out which one leaves something behind
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let seed = command_line.seed.unwrap_or_else(new_seed);
    let backends = match command_line.backend {
        Some(backend) => vec![backend],
        None => BackendName::ALL.to_vec(),
    };
    let time = Duration::from_secs_f64(60.0 * command_line.minutes);
    println!(
        "seed {seed}, {} s, the backends at the same time",
        time.as_secs()
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut failed = false;
    let mut soaks = Vec::new();
    for name in backends {
        match Backend::start(name) {
            Ok(backend) => soaks.push((backend, Tally::new(&command_line.only))),
            Err(missing) => {
                println!("{name}: left out, as {missing}");
                failed |= std::env::var("CI").is_ok_and(|ci| ci == "true");
            }
        }
    }
    let soaks = soaks.into_iter().map(async |(backend, tally)| {
        let name = backend.name;
        let left = Soak::new(backend, seed, &tally).run(time).await;
        println!("{name}: {} operations: {tally}", tally.count());
        for line in left.iter().chain(&tally.failures()) {
            println!("{name}: {line}");
        }
        let faults = left.len() + tally.failures().len();
        println!("{name}: {} left behind, {faults} faults", left.len());
        faults > 0
    });
    failed |= runtime.block_on(join_all(soaks)).contains(&true);
    match failed {
        false => ExitCode::SUCCESS,
        true => {
            println!("again with: cargo xtask soak --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
