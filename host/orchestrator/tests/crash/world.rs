//! A backend with all that agents leave in it, and what has to hold after every crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestBackend, TestProgram, eventually};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

/// The variables of agents by which a test finds their processes, whatever runs them.
const WORLD: &str = "CRASH_WORLD";
const NAME: &str = "CRASH_NAME";

/// What agents do: they end only when they are made to, and not with their terminal.
const PROGRAM: &str = "trap '' HUP; exec sleep 1000";

/// What a client may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was answered that the agent is there.
    There,
    /// It was answered that the agent is not there any more.
    Gone,
    /// The answer to a deletion did not come.
    Either,
}

/// A backend of the test's own.
pub struct World {
    backend: TestBackend,
    program: fn() -> TestProgram,
    id: String,
}

impl World {
    /// Around `backend`, for the services that `program` gives.
    pub fn new(backend: TestBackend, program: fn() -> TestProgram) -> Self {
        World {
            backend,
            program,
            id: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// The service on this backend.
    pub fn program(&self) -> TestProgram {
        self.backend.configure((self.program)())
    }

    /// Starts the first service.
    pub fn start(&self) -> RunningProgram {
        self.ready(self.program().start())
    }

    /// Starts `next` on the state of one that has ended.
    pub fn start_after(&self, ended: RunningProgram, next: TestProgram) -> RunningProgram {
        self.ready(next.start_after(ended))
    }

    fn ready(&self, daemon: RunningProgram) -> RunningProgram {
        self.backend.give(daemon.work_dir());
        daemon
    }

    /// What asks for an agent of this world.
    pub fn request(&self, daemon: &RunningProgram, name: &str) -> Value {
        let mut body = daemon.new_session(name, &["sh", "-c", PROGRAM]);
        body["env"] = json!({WORLD: self.id, NAME: name});
        body
    }

    /// The owners, by name, of the sessions or containers that there are. One without an owner's
    /// label has an empty name.
    pub fn sessions(&self) -> Vec<String> {
        match &self.backend {
            TestBackend::Pty => Vec::new(),
            TestBackend::Tmux(server) => {
                server.list(&["list-sessions", "-F", "#{?@agentd_id,#{session_name},}"])
            }
            TestBackend::Docker(engine) => {
                let format = "{{.Label \"agentd.label\"}}";
                let labels = engine.list(&["ps", "--all", "--no-trunc", "--format", format]);
                let name = |label: String| {
                    let label: Value = serde_json::from_str(&label).unwrap_or_default();
                    label["name"].as_str().unwrap_or_default().to_owned()
                };
                labels.into_iter().map(name).collect()
            }
        }
    }

    /// The names of the agents of which a process lives.
    pub fn processes(&self) -> BTreeSet<String> {
        let world = format!("{WORLD}={}", self.id);
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let environ = fs::read(entry.path().join("environ")).ok()?;
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let mut variables = environ.split('\0');
            variables.clone().find(|variable| *variable == world)?;
            let name =
                variables.find_map(|variable| variable.strip_prefix(NAME)?.strip_prefix('='))?;
            Some(name.to_owned())
        })
        .collect()
    }

    /// Checks what has to hold when a service has come back after a crash.
    pub async fn check(&self, daemon: &RunningProgram, answered: &BTreeMap<String, Answered>) {
        let agents = settled(daemon).await;
        let by_name: BTreeMap<&str, &Agent> = agents
            .iter()
            .map(|agent| (agent.name.as_str(), agent))
            .collect();
        assert_eq!(
            by_name.len(),
            agents.len(),
            "an agent is there twice: {agents:?}"
        );
        for (name, answer) in answered {
            let there = by_name.contains_key(name.as_str());
            match answer {
                Answered::There => assert!(there, "`{name}` is lost"),
                Answered::Gone => assert!(!there, "`{name}` was deleted"),
                Answered::Either => {}
            }
        }
        for agent in &agents {
            assert!(is_explained(agent), "not explained: {agent:?}");
        }
        self.has_only(&agents).await;
    }

    /// Waits until nothing is without an owner.
    async fn has_only(&self, agents: &[Agent]) {
        let names = |holds: fn(&Agent) -> bool| {
            let held = agents.iter().filter(move |agent| holds(agent));
            held.map(|agent| agent.name.clone())
                .collect::<BTreeSet<_>>()
        };
        let (all, running) = (names(|_| true), names(is_running));
        let mut fault = String::new();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while tokio::time::Instant::now() < deadline {
            let sessions = self.sessions();
            let processes = self.processes();
            let once: BTreeSet<String> = sessions.iter().cloned().collect();
            let orphans: Vec<_> = once.difference(&all).collect();
            let ownerless: Vec<_> = processes.difference(&running).collect();
            let missing: Vec<_> = running.difference(&processes).collect();
            if orphans.is_empty()
                && ownerless.is_empty()
                && missing.is_empty()
                && once.len() == sessions.len()
            {
                return;
            }
            fault = format!(
                "sessions {sessions:?}, without an owner {orphans:?}; processes without an owner \
                 {ownerless:?}; agents without a process {missing:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{fault}; agents {agents:?}");
    }

    /// Deletes all agents, after which nothing is left.
    pub async fn clear(&self, daemon: &RunningProgram) {
        let agents = settled(daemon).await;
        let deletions = agents.iter().map(async |agent| {
            let path = format!("/agents/{}", agent.id);
            daemon.delete(&path).await.expect(204);
        });
        join_all(deletions).await;
        self.has_only(&[]).await;
    }
}

/// All agents, when none is about to become something else.
pub async fn settled(daemon: &RunningProgram) -> Vec<Agent> {
    eventually("all agents are settled", async || {
        let page = daemon.get("/agents?limit=200").await.expect(200).json();
        let total = page["total"].as_u64().unwrap();
        let agents: Vec<Agent> = serde_json::from_value(page["items"].clone()).unwrap();
        assert_eq!(agents.len() as u64, total, "they fit on a page");
        let unsettled = |agent: &Agent| agent.status == AgentStatus::Pending;
        (!agents.iter().any(unsettled)).then_some(agents)
    })
    .await
}

fn is_running(agent: &Agent) -> bool {
    let state = agent.session.as_ref().map(|session| session.state);
    state == Some(State::Running)
}

/// Whether it runs, or shows how it ended.
fn is_explained(agent: &Agent) -> bool {
    let Some(session) = &agent.session else {
        return false;
    };
    match &session.exit {
        None => agent.status == AgentStatus::Running && session.state == State::Running,
        Some(exit) => exit.code.is_some() || exit.signal.is_some() || exit.reason.is_some(),
    }
}

/// Kills a service.
pub async fn kill(mut daemon: RunningProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    daemon
}
