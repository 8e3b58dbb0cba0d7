use std::path::Path;

use agentd_api::client::{Client, TerminalEvent, TerminalReader, TerminalWriter};
use agentd_api::terminal::{ServerFrame, TerminalQuery};
use agentd_api::{NewSession, Size};
use agentd_host::testing::{RunningProgram, TestProgram, profile_dir};

use crate::Result;

/// The real service in a process of its own; ended when this is dropped.
pub struct Server {
    /// The process.
    pub program: RunningProgram,
    /// A client of it.
    pub client: Client,
}

impl Server {
    /// Starts it, built like this program.
    pub fn start() -> Result<Self> {
        let program = TestProgram::built("agentd-wrap", &profile_dir())
            .env("RUST_LOG", "warn")
            .start();
        Server::of(program)
    }

    /// One that was started.
    pub fn of(program: RunningProgram) -> Result<Self> {
        let url = format!("http://{}", program.address);
        let client = Client::new(&url, Some(&program.token))?;
        Ok(Server { program, client })
    }

    /// Starts this program in a session, in a role.
    pub async fn run(&self, name: &str, role: &[&str]) -> Result {
        let this = std::env::current_exe()?.display().to_string();
        let command = std::iter::once(this).chain(role.iter().map(|word| (*word).to_owned()));
        let new = NewSession {
            name: name.to_owned(),
            working_dir: "/".to_owned(),
            command: Some(command.collect()),
            size: Some(Size { cols: 80, rows: 24 }),
            ..NewSession::default()
        };
        self.client.create_session(&new).await?;
        Ok(())
    }

    /// Watches a session.
    pub async fn watch(&self, name: &str) -> Result<(TerminalReader, TerminalWriter)> {
        let console = self.client.session_console(name);
        Ok(console.terminal(&TerminalQuery::default()).await?.split())
    }

    /// Ends a session and forgets it.
    pub async fn delete(&self, name: &str) -> Result {
        Ok(self.client.delete_session(name).await?)
    }

    /// Its keeper, if it has one.
    pub async fn keeper(&self) -> Result<Option<u32>> {
        let keepers = self.client.health().await?.keepers;
        Ok(keepers.first().map(|keeper| keeper.pid))
    }
}

/// How often a thread of the process has gone to sleep so far.
pub fn sleeps(pid: u32) -> Result<u64> {
    let mut sleeps = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let file = thread?.path().join("status");
        sleeps += field(&file, "voluntary_ctxt_switches:")?;
    }
    Ok(sleeps)
}

/// The number in a line of a file of `/proc`.
pub fn field(file: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.ok_or("no such line")?.parse()?)
}

/// What a viewer saw in all.
#[derive(Debug, Default)]
pub struct Seen {
    /// Output, in bytes.
    pub output: u64,
    /// How often it was brought to the present, and the bytes of that.
    pub snapshots: u64,
    pub snapshot_bytes: u64,
    /// What came since the last snapshot, itself included; the last 64 KiB of it.
    pub last: Vec<u8>,
    /// The exit code.
    pub code: Option<i32>,
}

impl Seen {
    /// Takes in what the server sent; true at the end.
    pub fn take(&mut self, event: &TerminalEvent) -> bool {
        match event {
            TerminalEvent::Output(bytes) => {
                self.output += bytes.len() as u64;
                self.add(bytes);
            }
            TerminalEvent::Snapshot(bytes) => {
                self.snapshots += 1;
                self.snapshot_bytes += bytes.len() as u64;
                self.last.clear();
                self.add(bytes);
            }
            TerminalEvent::Frame(ServerFrame::Exit { code, .. }) => self.code = *code,
            TerminalEvent::Frame(_) => {}
            TerminalEvent::Closed { .. } => return true,
        }
        false
    }

    fn add(&mut self, bytes: &[u8]) {
        const KEPT: usize = 64 * 1024;
        self.last.extend_from_slice(bytes);
        if self.last.len() > 2 * KEPT {
            self.last.drain(..self.last.len() - KEPT);
        }
    }

    /// The text of the screen.
    pub fn screen(&self) -> Result<Vec<String>> {
        let mut emulator = agentd_terminal::Emulator::new(agentd_terminal::Size::new(80, 24)?, 0);
        emulator.advance(&self.last);
        Ok(emulator.screen_text())
    }
}
