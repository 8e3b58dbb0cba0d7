use std::process::Command;

use clap::Args;

use crate::cargo::out_dir;
use crate::test::{BUILT, build_all};
use crate::{Result, tool};

/// How to soak.
#[derive(Args)]
pub struct Options {
    /// How long in all
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    minutes: f64,
    /// Only this backend: pty, tmux or docker; else all at the same time
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// Decides what is done in which order; a new one each time unless it is set
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only these operations, to find out which one leaves something behind
    #[arg(long, value_name = "OPERATIONS")]
    only: Option<String>,
}

/// Builds the services and soaks them.
pub fn run(options: &Options) -> Result {
    build_all()?;
    let mut soak = command();
    soak.arg(format!("--minutes={}", options.minutes));
    let seed = options.seed.map(|seed| seed.to_string());
    for (flag, value) in [
        ("--backend", &options.backend),
        ("--seed", &seed),
        ("--only", &options.only),
    ] {
        if let Some(value) = value {
            soak.args([flag, value]);
        }
    }
    tool::run(&mut soak)
}

/// The soak, as the test suite runs it without further arguments.
pub fn command() -> Command {
    let mut command = Command::new(out_dir(false).join("examples/soak"));
    command.env(BUILT, "1");
    command
}
