use std::time::Instant;

use agentd_api::Agent;
use agentd_api::client::{Client, TerminalEvent, TerminalReader, TerminalWriter};
use agentd_api::terminal::TerminalQuery;
use agentd_host::testing::{
    RunningProgram, Table, TestProgram, eventually, example_libraries, median, profile_dir,
};
use bytes::Bytes;
use rustix::process::Signal;

use crate::Result;
use crate::service::agent;

const STARTS: usize = 100;
const KEYS: usize = 1000;

/// How many times as long agents of the other backend may take.
const MOST: f64 = 1.5;

/// The misdeeds of `agentd_backend_fixture` in a call that starts an agent. Two block as many threads as a
/// library has.
const MISDEEDS: [(&str, &str); 5] = [
    ("blocks", "block"),
    ("blocks-too", "block"),
    ("floods", "flood-log"),
    ("lies", "garbage"),
    ("panics", "panic"),
];

/// Starts and echoes on pty in a service whose other backend blocks its threads, floods its log, reports
/// nonsense and panics, over those in a service with pty alone, in turns.
pub async fn measure(table: &mut Table) -> Result {
    let mut alone = Daemon::start(None).await?;
    let mut beside = Daemon::start(Some("fixture")).await?;
    let misdeeds = beside.misbehave().await?;
    let mut starts = [Vec::new(), Vec::new()];
    let mut echoes = [Vec::new(), Vec::new()];
    // The first round warms up.
    for round in 0..=STARTS {
        for (which, daemon) in [&mut alone, &mut beside].into_iter().enumerate() {
            let start = daemon.start_one(round).await?;
            let echo = daemon.echo(KEYS / STARTS).await?;
            if round > 0 {
                starts[which].push(start);
                echoes[which].extend(echo);
            }
        }
    }
    for (what, times) in [("start", starts), ("echo", echoes)] {
        let [alone, beside] = times.map(|times| median(times) * 1e3);
        let ratio = beside / alone;
        table.row(
            format!("pty beside a backend that misbehaves: {what} p50 over that of pty alone"),
            format!("{ratio:.2} ({beside:.3} ms of {alone:.3})"),
            format!("≤ {MOST}"),
            ratio <= MOST,
        );
    }
    beside.let_go()?;
    for misdeed in misdeeds {
        // One of them has panicked.
        let _ = misdeed.await?;
    }
    for daemon in [alone, beside] {
        daemon.end().await;
    }
    Ok(())
}

/// A service, and one of its agents, of which a terminal is open.
struct Daemon {
    program: RunningProgram,
    client: Client,
    terminal: (TerminalReader, TerminalWriter),
}

impl Daemon {
    async fn start(other: Option<&str>) -> Result<Self> {
        let mut program = TestProgram::built("agentd-orchestrator", &profile_dir())
            .env("AGENTD_BACKEND", "pty")
            .env("RUST_LOG", "warn");
        if let Some(other) = other {
            let places = std::env::join_paths([profile_dir(), example_libraries()])?;
            program = program
                .env("AGENTD_PLUGIN_DIR", places)
                .env("AGENTD_BACKENDS", other);
        }
        let program = program.start();
        let url = format!("http://{}", program.address);
        let client = Client::new(&url, Some(&program.token))?;
        // The terminal itself gives back what is typed.
        let new = agent(program.work_dir(), "echoes", &["cat"]);
        let echoes = client.create_agent(&new).await?;
        let console = client.agent_console(&echoes.id);
        let terminal = console.terminal(&TerminalQuery::default()).await?.split();
        Ok(Daemon {
            program,
            client,
            terminal,
        })
    }

    /// Has the other backend do what it should not. What is blocked ends when it is let go.
    async fn misbehave(&self) -> Result<Vec<tokio::task::JoinHandle<Result<Agent>>>> {
        let directory = self.program.work_dir();
        let mut misdeeds = Vec::new();
        for (name, misdeed) in MISDEEDS {
            let client = self.client.clone();
            let mut new = agent(directory, name, &[misdeed]);
            new.backend = Some("fixture".to_owned());
            let start = tokio::spawn(async move { Ok(client.create_agent(&new).await?) });
            if misdeed == "block" {
                let begun = directory.join(format!("held-up-{name}"));
                let is_begun = async || begun.exists().then_some(());
                eventually("it is held up", is_begun).await;
            }
            misdeeds.push(start);
        }
        Ok(misdeeds)
    }

    fn let_go(&self) -> Result {
        Ok(std::fs::write(self.program.work_dir().join("go"), "")?)
    }

    /// The seconds from the request for an agent until it runs.
    async fn start_one(&self, round: usize) -> Result<f64> {
        let new = agent(
            self.program.work_dir(),
            &format!("round-{round}"),
            &["sleep", "1000"],
        );
        let begin = Instant::now();
        let started = self.client.create_agent(&new).await?;
        let time = begin.elapsed().as_secs_f64();
        self.client.delete_agent(&started.id).await?;
        Ok(time)
    }

    /// The seconds from each of so many keys to its echo.
    async fn echo(&mut self, keys: usize) -> Result<Vec<f64>> {
        let (reader, writer) = &mut self.terminal;
        let mut times = Vec::new();
        for _ in 0..keys {
            let begin = Instant::now();
            writer.input(Bytes::from_static(b"k")).await?;
            loop {
                match reader.next().await? {
                    TerminalEvent::Output(bytes) if bytes.ends_with(b"k") => break,
                    TerminalEvent::Closed { .. } => return Err("the session ended".into()),
                    _ => {}
                }
            }
            times.push(begin.elapsed().as_secs_f64());
        }
        Ok(times)
    }

    async fn end(mut self) {
        self.program.signal(Signal::TERM);
        self.program.ended().await;
    }
}
