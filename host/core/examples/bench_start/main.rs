//! Measures the start: from exec of the real `agentd-orchestrator` with `pty` to the whole first
//! answer to `GET /info`, beside a program that does nothing but listen and answer, which is this
//! one again. Both say on standard output where they listen, and are asked in the same way. The service
//! is started with `AGENTD_KEEPER` on and off, in turns. `cargo xtask bench start` builds and runs it.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod bare;
mod program;

use std::path::Path;
use std::process::{Command, ExitCode};

use agentd_host::testing::{Table, median};
use program::Program;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 20;

/// How much longer it may take with a keeper.
const MOST_WITH_KEEPER: f64 = 1.3;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "bare") {
        return bare::run().map(|()| ExitCode::SUCCESS);
    }
    let state = tempfile::tempdir()?;
    let this = std::env::current_exe()?;
    // examples/bench_start → the directory of the programs and libraries.
    let programs = this.ancestors().nth(2).ok_or("no directory")?;
    let mut services =
        ["off", "on"].map(|keeper| service(programs, &state.path().join(keeper), keeper));
    let mut bare = Command::new(&this);
    bare.arg("bare");

    // Everybody's first start makes the state directory's files; then the files are cached.
    for program in services.iter_mut().chain([&mut bare]) {
        Program::first_answer(program)?;
    }
    let (mut times, mut bares) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..ROUNDS {
        for (service, times) in services.iter_mut().zip(&mut times) {
            let (time, answer) = Program::first_answer(service)?;
            if !answer.contains(r#""backend_type":"pty""#) {
                return Err(format!("not the answer of the pty backend: {answer}").into());
            }
            times.push(time);
        }
        bares.push(Program::first_answer(&mut bare)?.0);
    }
    let [without, with] = times.map(|times| median(times) * 1e3);
    let bare = median(bares) * 1e3;
    let mut table = Table::default();
    table.row(
        format!("exec to the first `/info` answer, median of {ROUNDS}"),
        format!("{without:.1} ms; a program that only listens: {bare:.1} ms"),
        "",
        None,
    );
    let ratio = with / without;
    table.row(
        "the same with `AGENTD_KEEPER` on over off",
        format!("{ratio:.2} ({with:.1} ms of {without:.1})"),
        format!("≤ {MOST_WITH_KEEPER}"),
        ratio <= MOST_WITH_KEEPER,
    );
    Ok(table.print(arguments.iter().any(|argument| argument == "--json")))
}

fn service(programs: &Path, state_dir: &Path, keeper: &str) -> Command {
    let mut service = Command::new(programs.join("agentd-orchestrator"));
    service
        .args(["--backend", "pty", "--port", "0", "--state-dir"])
        .arg(state_dir)
        .env("RUST_LOG", "warn")
        .env("AGENTD_KEEPER", keeper)
        .env_remove("AGENTD_PLUGIN_DIR")
        .env_remove("AGENTD_TOKEN");
    service
}
