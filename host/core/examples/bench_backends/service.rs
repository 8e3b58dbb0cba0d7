use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agentd_api::client::{Client, Events};
use agentd_api::{AgentStatus, Change, NewAgent};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;
use crate::bare::Bare;
use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(120);

/// The real service in a process of its own; ended, and awaited, when this is dropped.
pub struct Service {
    process: Child,
    /// A client of it.
    pub client: Client,
    events: Events,
    started: HashSet<String>,
    exited: HashSet<String>,
    work_dir: TempDir,
    _state: TempDir,
}

impl Service {
    /// Starts it, built like this program, where the bare tool works.
    pub async fn start<B: Bare>(bare: &B) -> Result<Self> {
        let (state, work_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        if rustix::process::geteuid().is_root() {
            // In containers nobody runs as root unasked.
            std::os::unix::fs::chown(work_dir.path(), Some(1000), Some(1000))?;
        }
        let this = std::env::current_exe()?;
        // examples/bench_backends → the directory of the programs and libraries.
        let programs = this.ancestors().nth(2).ok_or("no directory")?;
        let mut process = Command::new(programs.join("agentd-orchestrator"))
            .args(["--backend", B::BACKEND, "--port", "0", "--state-dir"])
            .arg(state.path())
            .env("RUST_LOG", "warn")
            .env_remove("AGENTD_PLUGIN_DIR")
            .env_remove("AGENTD_TOKEN")
            .envs(bare.variables())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .ok_or("the service did not start")?;
        let token = std::fs::read_to_string(state.path().join("token"))?;
        let client = Client::new(url, Some(token.trim()))?;
        let events = client.events(None).await?;
        Ok(Service {
            process,
            client,
            events,
            started: HashSet::new(),
            exited: HashSet::new(),
            work_dir,
            _state: state,
        })
    }

    /// Where the agents work.
    pub fn work_dir(&self) -> &str {
        self.work_dir.path().to_str().unwrap_or("/tmp")
    }

    /// Asks for an agent that runs the program: its id.
    pub async fn create(&self, name: &str, program: &Program) -> Result<String> {
        let new = NewAgent {
            name: name.to_owned(),
            working_dir: self.work_dir().to_owned(),
            command: Some(program.argv()),
            ..NewAgent::default()
        };
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

impl Drop for Service {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}
