//! A backend with all that agents leave in it, and what has to hold after every crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestBackend, TestProgram, eventually, kill_all_of};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The variables of agents by which a test finds their processes, whatever runs them.
const WORLD: &str = "CRASH_WORLD";
const NAME: &str = "CRASH_NAME";

/// What a client may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was answered that the agent runs, and nothing else was asked for since.
    Running,
    /// As before, and it is to be started again whenever it fails.
    Again,
    /// It was answered that the agent does not run.
    Stopped,
    /// It ran, and that it is to be stopped is on the disk.
    ToBeStopped,
    /// It was answered that the agent is there.
    There,
    /// It was answered that the agent is not there any more, or this is on the disk.
    Gone,
    /// An answer did not come.
    Either,
}

/// A backend of the test's own, and the state of the services on it.
pub struct World {
    backend: TestBackend,
    program: fn() -> TestProgram,
    id: String,
    directory: TempDir,
}

impl World {
    /// Around `backend`, for the services that `program` gives.
    pub fn new(backend: TestBackend, program: fn() -> TestProgram) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = World {
            backend,
            program,
            id: uuid::Uuid::new_v4().to_string(),
            directory,
        };
        fs::create_dir(world.work_dir()).unwrap();
        world.backend.give(&world.work_dir());
        world
    }

    /// The backend.
    pub fn backend(&self) -> &TestBackend {
        &self.backend
    }

    /// Whether agents outlive a service that is killed.
    pub fn is_persistent(&self) -> bool {
        !matches!(self.backend, TestBackend::Pty)
    }

    /// Where agents work.
    pub fn work_dir(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The home directory of the services.
    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// The service on this backend and this state, which repairs soon what is wrong.
    pub fn program(&self) -> TestProgram {
        self.backend
            .configure((self.program)())
            .env("HOME", self.home())
            .env("AGENTD_STATE_DIR", self.state_dir())
            .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
            .env("AGENTD_UNOWNED_GRACE_SECS", "1")
            .env("AGENTD_RESTART_BACKOFF_MS", "100")
    }

    /// Starts a service.
    pub fn start(&self) -> RunningProgram {
        self.start_as(self.program())
    }

    /// Starts this service.
    pub fn start_as(&self, program: TestProgram) -> RunningProgram {
        program.start_in(&self.state_dir())
    }

    /// Their state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// What asks for an agent of this world.
    pub fn request(&self, name: &str) -> Value {
        json!({
            "name": name,
            "working_dir": self.work_dir(),
            "command": ["sleep", "1000"],
            "env": {WORLD: self.id, NAME: name},
        })
    }

    /// The owners, by name, of the sessions or containers that there are. One without an owner's
    /// label has an empty name.
    pub fn sessions(&self) -> Vec<String> {
        match &self.backend {
            TestBackend::Pty | TestBackend::Kept => Vec::new(),
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
        self.running().map(|(name, _)| name).collect()
    }

    /// Kills the program of an agent.
    pub async fn kill_program(&self, agent: &str) {
        // One that is just being executed has no variables for a moment.
        let programs = eventually("the agent's program", async || {
            let all = self.running();
            let programs = all.filter_map(|(name, pid)| (name == agent).then_some(pid));
            Some(programs.collect::<Vec<Pid>>()).filter(|programs| !programs.is_empty())
        });
        for program in programs.await {
            // One of them may end with another.
            let _ = kill_process(program, Signal::KILL);
        }
    }

    /// The processes of agents, with the names of these.
    fn running(&self) -> impl Iterator<Item = (String, Pid)> {
        let world = format!("{WORLD}={}", self.id);
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(move |entry| {
            let environ = fs::read(entry.path().join("environ")).ok()?;
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let mut variables = environ.split('\0');
            variables.clone().find(|variable| *variable == world)?;
            let name =
                variables.find_map(|variable| variable.strip_prefix(NAME)?.strip_prefix('='))?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((name.to_owned(), Pid::from_raw(pid)?))
        })
    }

    /// Checks what has to hold when a service has come back after a crash.
    pub async fn check(&self, daemon: &RunningProgram, answered: &BTreeMap<String, Answered>) {
        let agents = self.settled_without(daemon, answered).await;
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
                Answered::Stopped => {
                    assert!(there, "`{name}` is lost");
                    assert!(!is_running(by_name[name.as_str()]), "`{name}` was stopped");
                }
                Answered::ToBeStopped => {
                    assert!(there, "`{name}` is lost");
                    let status = by_name[name.as_str()].status;
                    assert_eq!(status, AgentStatus::Stopped, "`{name}`: {agents:?}");
                }
                Answered::Running => {
                    assert!(there, "`{name}` is lost");
                    let runs = is_running(by_name[name.as_str()]);
                    assert_eq!(runs, self.is_persistent(), "`{name}`: {agents:?}");
                }
                Answered::Again | Answered::Gone | Answered::Either => {}
            }
        }
        for agent in &agents {
            assert!(is_explained(agent), "not explained: {agent:?}");
        }
        self.has_only_owned(daemon).await;
    }

    /// All agents, when those are gone that were to be deleted, and those run that are to be started
    /// again.
    async fn settled_without(
        &self,
        daemon: &RunningProgram,
        answered: &BTreeMap<String, Answered>,
    ) -> Vec<Agent> {
        eventually("what is wanted", async || {
            let agents = settled(daemon).await;
            let wanted = answered.iter().all(|(name, answer)| {
                let agent = agents.iter().find(|agent| agent.name == *name);
                match answer {
                    Answered::Gone => agent.is_none(),
                    Answered::Again => agent.is_some_and(is_running),
                    Answered::Stopped => !agent.is_some_and(is_running),
                    Answered::ToBeStopped => {
                        agent.is_some_and(|agent| agent.status == AgentStatus::Stopped)
                    }
                    _ => true,
                }
            });
            wanted.then_some(agents)
        })
        .await
    }

    /// Waits until nothing is without an owner.
    pub async fn has_only_owned(&self, daemon: &RunningProgram) {
        let mut fault = String::new();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while tokio::time::Instant::now() < deadline {
            // An end that was begun before the crash is reported after it.
            let agents = settled(daemon).await;
            let names = |holds: fn(&Agent) -> bool| {
                let held = agents.iter().filter(move |agent| holds(agent));
                held.map(|agent| agent.name.clone())
                    .collect::<BTreeSet<_>>()
            };
            let (all, running) = (names(|_| true), names(is_running));
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
                 {ownerless:?}; agents without a process {missing:?}; agents {agents:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{fault}");
    }

    /// Deletes all agents, after which nothing is left.
    pub async fn clear(&self, daemon: &RunningProgram) {
        self.clear_but(daemon, &[]).await;
        assert_eq!((self.sessions().len(), self.processes().len()), (0, 0));
    }

    /// Deletes all agents but these, after which nothing is left of the others.
    pub async fn clear_but(&self, daemon: &RunningProgram, staying: &[&str]) {
        let agents = settled(daemon).await;
        let others = agents
            .iter()
            .filter(|agent| !staying.contains(&agent.name.as_str()));
        let deletions = others.map(async |agent| {
            let path = format!("/agents/{}", agent.id);
            // The service may just have done what was wanted before the crash.
            let answer = daemon.delete(&path).await;
            assert!([204, 404].contains(&answer.status), "{answer:?}");
        });
        join_all(deletions).await;
        self.has_only_owned(daemon).await;
        let agents = settled(daemon).await;
        assert_eq!(agents.len(), staying.len(), "{agents:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if matches!(self.backend, TestBackend::Kept) {
            kill_all_of(self.directory.path());
        }
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

/// Whether it runs, or shows how it ended. One whose last start has failed shows that as the last of
/// what it was.
fn is_explained(agent: &Agent) -> bool {
    let exit = match &agent.session {
        Some(session) => session.exit.as_ref(),
        None => agent.history.last().and_then(|past| past.exit.as_ref()),
    };
    match exit {
        None => is_running(agent) && agent.status == AgentStatus::Running,
        Some(exit) => exit.code.is_some() || exit.signal.is_some() || exit.reason.is_some(),
    }
}

/// Kills a service.
pub async fn kill(mut daemon: RunningProgram) {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
}
