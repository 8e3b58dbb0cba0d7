//! `cargo xtask`: what this repository needs beyond what cargo does.

mod bench;
mod build_plugins;
mod build_ui;
mod cargo;
mod contents;
mod dist;
mod docs;
mod fuzz;
mod repeat;
mod report;
mod run;
mod soak;
mod test;
mod tidy;
mod tool;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// What went wrong, ready to be printed.
type Result<T = ()> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the backend libraries and checks that each exports its root symbol
    BuildPlugins {
        #[arg(long)]
        release: bool,
        /// Install them there too, each by a rename
        #[arg(long, value_name = "DIR")]
        dest: Option<PathBuf>,
    },
    /// Builds the web UI with npm
    BuildUi,
    /// Builds the documentation as a site into `target/docs`
    Docs,
    /// Builds everything that a service needs, and becomes it
    Run {
        #[arg(value_enum, default_value = "orchestrator")]
        service: Service,
        #[arg(long)]
        release: bool,
        /// Flags of the service
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Runs the whole test suite, as CI does
    Test {
        #[command(flatten)]
        options: test::Options,
    },
    /// Uses a service as in a long life, and finds what it leaves behind
    Soak {
        #[command(flatten)]
        options: soak::Options,
    },
    /// Sends what reads bytes of others inputs that libFuzzer chooses, and counts them
    Fuzz {
        #[command(flatten)]
        options: fuzz::Options,
    },
    /// Measures, beside a reference in the same run
    Bench {
        #[command(flatten)]
        options: bench::Options,
    },
    /// Builds a release, lists what is inside, and packs it
    Dist {
        #[arg(long, value_name = "DIR", default_value = "target/dist")]
        dest: PathBuf,
        /// Build it again from a copy of the sources elsewhere, and compare
        #[arg(long)]
        check: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    Orchestrator,
    Wrap,
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::BuildPlugins { release, dest } => build_plugins::run(release, dest.as_deref()),
        Command::BuildUi => build_ui::run(),
        Command::Docs => docs::run(),
        Command::Run {
            service,
            release,
            flags,
        } => run::run(service, release, &flags),
        Command::Test { options } => test::run(&options),
        Command::Soak { options } => soak::run(&options),
        Command::Fuzz { options } => fuzz::run(&options),
        Command::Bench { options } => bench::run(&options),
        Command::Dist { dest, check } => match check {
            true => dist::check(&dest),
            false => dist::run(&dest),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tool::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
