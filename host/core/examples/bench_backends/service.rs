use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use agentd_api::client::{Client, Events};
use agentd_api::{AgentStatus, Change, NewAgent, State};
use agentd_host::testing::{RunningProgram, TestProgram, profile_dir};
use rustix::process::Signal;

use crate::Result;
use crate::bare::Bare;
use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(120);

/// The real service in a process of its own.
pub struct Service {
    program: RunningProgram,
    /// A client of it.
    pub client: Client,
    events: Events,
    started: HashSet<String>,
    exited: HashSet<String>,
}

impl Service {
    /// Starts it, built like this program, where the bare tool works.
    pub async fn start<B: Bare>(bare: &B) -> Result<Self> {
        Self::of(built(bare).start()).await
    }

    /// Kills it, and starts the next one with what this one has left.
    pub async fn killed_and_started_again<B: Bare>(mut self, bare: &B) -> Result<Self> {
        self.program.signal(Signal::KILL);
        self.program.ended().await;
        Self::of(built(bare).start_after(self.program)).await
    }

    async fn of(program: RunningProgram) -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            // In containers nobody runs as root unasked.
            std::os::unix::fs::chown(program.work_dir(), Some(1000), Some(1000))?;
        }
        let url = format!("http://{}", program.address);
        let client = Client::new(&url, Some(&program.token))?;
        let events = client.events(None).await?;
        Ok(Service {
            program,
            client,
            events,
            started: HashSet::new(),
            exited: HashSet::new(),
        })
    }

    /// Ends it.
    pub async fn end(mut self) {
        self.program.signal(Signal::TERM);
        self.program.ended().await;
    }

    /// Where the agents work.
    pub fn work_dir(&self) -> &str {
        self.program.work_dir().to_str().unwrap_or("/tmp")
    }

    /// Asks for an agent that runs the program: its id.
    pub async fn create(&self, name: &str, program: &Program) -> Result<String> {
        let argv = program.argv();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let new = agent(self.program.work_dir(), name, &argv);
        Ok(self.client.create_agent(&new).await?.id)
    }

    /// Waits until the service has reported that all of these run.
    pub async fn wait_for_start(&mut self, ids: &[String]) -> Result {
        while !ids.iter().all(|id| self.started.contains(id)) {
            self.next_event().await?;
            if let Some(id) = ids.iter().find(|id| self.exited.contains(*id)) {
                return Err(format!("agent {id} ended by itself").into());
            }
        }
        Ok(())
    }

    /// Waits until all of these, which an earlier service has started, run in this one.
    pub async fn has_taken_over(&self, ids: &[String]) -> Result {
        for id in ids {
            let runs = async || -> Result<bool> {
                let session = self.client.agent(id).await?.session;
                Ok(session.is_some_and(|session| session.state == State::Running))
            };
            let end = Instant::now() + PATIENCE;
            while !runs().await? {
                if Instant::now() > end {
                    return Err(format!("agent {id} is not taken over").into());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Waits until the service has reported that all of these ended.
    pub async fn wait_for_exit(&mut self, ids: &[String]) -> Result {
        while !ids.iter().all(|id| self.exited.contains(id)) {
            self.next_event().await?;
        }
        Ok(())
    }

    async fn next_event(&mut self) -> Result {
        let next = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let change = next.map_err(|_| "the service reports nothing any more")??;
        match change.ok_or("the service has ended its events")? {
            Change::Created { agent } if agent.status == AgentStatus::Running => {
                self.started.insert(agent.id);
            }
            Change::Started { agent } => {
                self.started.insert(agent.id);
            }
            Change::Exited { agent } => {
                self.exited.insert(agent.id);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The service, built like this program, where the bare tool works.
fn built<B: Bare>(bare: &B) -> TestProgram {
    let mut program = TestProgram::built("agentd-orchestrator", &profile_dir())
        .env("AGENTD_BACKEND", B::BACKEND)
        .env("RUST_LOG", "warn");
    for (name, value) in bare.variables() {
        program = program.env(name, value);
    }
    program
}

/// A request for an agent.
pub fn agent(directory: &Path, name: &str, command: &[&str]) -> NewAgent {
    NewAgent {
        name: name.to_owned(),
        working_dir: directory.display().to_string(),
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        ..NewAgent::default()
    }
}
