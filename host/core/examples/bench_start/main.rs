//! Measures the start: from exec of the real `agentd-orchestrator` with `pty` to the whole first
//! answer to `GET /info`, beside a program that does nothing but listen and answer, which is this
//! one again. Both say on standard output where they listen, and are asked in the same way.
//! `cargo xtask bench start` builds and runs it.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod bare;
mod program;

use std::process::Command;

use agentd_host::testing::median;
use program::Program;
use serde_json::json;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 20;

fn main() -> Result {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("bare") {
        return bare::run();
    }
    let state = tempfile::tempdir()?;
    let this = std::env::current_exe()?;
    // examples/bench_start → the directory of the programs and libraries.
    let programs = this.ancestors().nth(2).ok_or("no directory")?;
    let mut service = Command::new(programs.join("agentd-orchestrator"));
    service
        .args(["--backend", "pty", "--port", "0", "--state-dir"])
        .arg(state.path())
        .env("RUST_LOG", "warn")
        .env_remove("AGENTD_PLUGIN_DIR")
        .env_remove("AGENTD_TOKEN");
    let mut bare = Command::new(&this);
    bare.arg("bare");

    // Everybody's first start makes the state directory's files; then the files are cached.
    Program::first_answer(&mut service)?;
    Program::first_answer(&mut bare)?;
    let (mut services, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (time, answer) = Program::first_answer(&mut service)?;
        if !answer.contains(r#""backend_type":"pty""#) {
            return Err(format!("not the answer of the pty backend: {answer}").into());
        }
        services.push(time);
        bares.push(Program::first_answer(&mut bare)?.0);
    }
    let (service, bare) = (median(services) * 1e3, median(bares) * 1e3);
    if argument.as_deref() == Some("--json") {
        let row = json!({
            "figure": "exec to the first answer", "service_ms": service, "bare_ms": bare,
            "rounds": ROUNDS, "must": null,
        });
        println!("{row}");
    } else {
        println!("| figure | measured | must |\n|---|---|---|");
        println!(
            "| exec to the first `/info` answer, median of {ROUNDS} | {service:.1} ms; a program \
             that only listens: {bare:.1} ms | – |"
        );
    }
    Ok(())
}
