//! What the tests are written with: a backend on the tests' engine, and agents in it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use agentd_backend_docker::{DockerBackend, DockerSession};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::{Recorded, Recorder, host};
use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::image;

/// Enough for everything that stops when asked to.
pub const GRACE: Duration = Duration::from_secs(10);

/// The user of the images.
pub const AGENT: u32 = 1000;

/// One engine for all tests that do not disturb it.
static SHARED: RwLock<Option<Arc<Engine>>> = RwLock::new(None);

/// Sets or takes away the engine that [`World::shared`] uses. The last one to drop it ends it.
pub fn share(engine: Option<Engine>) {
    *SHARED.write().expect("the shared engine") = engine.map(Arc::new);
}

pub fn shared_engine() -> Arc<Engine> {
    let shared = SHARED.read().expect("the shared engine");
    shared.clone().expect("the shared engine")
}

/// A daemon's view: a backend with an instance of its own.
pub struct World {
    pub backend: DockerBackend,
    pub docker: Docker,
    pub config: Config,
    _state: TempDir,
    _recordings: TempDir,
}

impl World {
    pub async fn shared() -> World {
        let engine = shared_engine();
        let world = World::try_on(&engine.docker_host()).await;
        world.unwrap_or_else(|error| panic!("connecting: {error}\n{}", engine.condition()))
    }

    pub async fn on(docker_host: &str) -> World {
        World::try_on(docker_host).await.expect("connecting")
    }

    async fn try_on(docker_host: &str) -> Result<World> {
        let state = tempfile::tempdir().expect("a state directory");
        let recordings = tempfile::tempdir().expect("a directory of recordings");
        let config = Config {
            instance: unique("instance"),
            state_dir: state.path().to_owned(),
            settings: [
                ("DOCKER_HOST".to_owned(), docker_host.to_owned()),
                ("AGENTD_DOCKER_IMAGE".to_owned(), image::PLAIN.to_owned()),
            ]
            .into(),
            private: vec![recordings.path().to_owned()],
        };
        Ok(World {
            backend: connect(&config).await?,
            docker: image::client(docker_host),
            config,
            _state: state,
            _recordings: recordings,
        })
    }

    /// The backend of the next daemon of the same instance.
    pub async fn restart_daemon(&mut self) {
        self.backend = connect(&self.config).await.expect("connecting again");
    }

    pub async fn start(&self, command: &[&str], options: Value) -> Agent {
        let workspace = Workspace::new();
        let spec = workspace.spec(command, options);
        self.start_spec(spec, workspace)
            .await
            .expect("starting an agent")
    }

    /// Starts a shell script.
    pub async fn sh(&self, script: &str) -> Agent {
        self.start(&["sh", "-c", script], json!({})).await
    }

    pub async fn start_spec(&self, spec: SessionSpec, workspace: Workspace) -> Result<Agent> {
        let events = Recorder::new();
        let id = spec.id.clone();
        let session = self.backend.start(spec, events.events()).await?;
        Ok(Agent {
            id,
            session,
            events,
            workspace,
        })
    }

    /// Starts what has to be refused.
    pub async fn refused(&self, options: Value) -> Error {
        let workspace = Workspace::new();
        let spec = workspace.spec(&["sleep", "60"], options);
        let recorder = Recorder::new();
        let refused = self.backend.start(spec, recorder.events()).await;
        assert_eq!(
            recorder.recorded().events,
            [],
            "nothing is reported of what is refused"
        );
        refused.err().expect("a refusal")
    }

    /// What the engine says of an agent's container.
    pub async fn inspect(&self, agent: &Agent) -> ContainerInspectResponse {
        let ids = self.containers(&agent.id).await;
        assert_eq!(ids.len(), 1, "one container per agent");
        let inspected = self.docker.inspect_container(&ids[0], None).await;
        inspected.expect("inspecting")
    }

    /// The ids of a session's containers, dead or alive.
    pub async fn containers(&self, session: &str) -> Vec<String> {
        let label = format!("agentd.session={session}");
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.expect("listing the containers");
        listed
            .into_iter()
            .filter_map(|container| container.id)
            .collect()
    }
}

pub async fn connect(config: &Config) -> Result<DockerBackend> {
    DockerBackend::connect(host(), config.clone()).await
}

/// A directory that belongs to the agent.
pub struct Workspace {
    directory: TempDir,
}

impl Workspace {
    pub fn new() -> Workspace {
        let directory = tempfile::tempdir().expect("a working directory");
        chown(directory.path(), Some(AGENT), Some(AGENT)).expect("chown");
        Workspace { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory
            .path()
            .canonicalize()
            .expect("the working directory")
    }

    pub fn spec(&self, command: &[&str], options: Value) -> SessionSpec {
        let id = unique("session");
        SessionSpec {
            name: "agent".to_owned(),
            working_dir: self.path(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: Default::default(),
            size: Size { cols: 80, rows: 24 },
            options: options.as_object().expect("options").clone(),
            label: format!("label of {id}"),
            id,
        }
    }
}

/// An agent, with what was reported of it to the host.
pub struct Agent {
    pub id: String,
    pub session: DockerSession,
    pub events: Arc<Recorder>,
    pub workspace: Workspace,
}

impl Agent {
    /// Waits for the end and returns the events.
    pub async fn end(&self) -> Event {
        let recorded = self.events.wait_for("the agent's end", |recorded| {
            recorded.events.last().is_some_and(is_end)
        });
        let events = recorded.await.events;
        assert_eq!(
            events.iter().filter(|event| is_end(event)).count(),
            1,
            "{events:?}"
        );
        events.last().cloned().expect("an event")
    }

    pub async fn exit(&self) -> ExitStatus {
        match self.end().await {
            Event::Exited { status } => status,
            other => panic!("not an exit: {other:?}"),
        }
    }

    pub async fn wait_for(&self, event: Event) -> Recorded {
        let what = format!("{event:?}");
        self.events
            .wait_for(&what, |recorded| recorded.events.contains(&event))
            .await
    }

    /// The log as it is now.
    pub async fn log(&self, query: LogQuery) -> Vec<LogLine> {
        let recorder = Recorder::new();
        self.session
            .logs(query, recorder.log())
            .await
            .expect("logs");
        recorder.recorded().lines
    }

    pub async fn text(&self) -> Vec<String> {
        let lines = self.log(LogQuery::default()).await;
        lines.into_iter().map(|line| line.line).collect()
    }

    /// Follows the log until `line` comes.
    pub async fn wait_for_line(&self, line: &str) {
        let recorder = Recorder::new();
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let follow = self.session.logs(query, recorder.log());
        let seen = recorder.wait_for(line, |recorded| {
            recorded.lines.iter().any(|logged| logged.line == line)
        });
        tokio::pin!(follow, seen);
        tokio::select! {
            _ = &mut seen => {}
            _ = &mut follow => { seen.await; }
        }
    }

    /// Writes a file into the working directory, or with `None` removes it.
    pub fn file(&self, name: &str, content: Option<&str>) {
        let path = self.workspace.path().join(name);
        match content {
            Some(content) => fs::write(path, content).expect("writing a file"),
            None => fs::remove_file(path).expect("removing a file"),
        }
    }

    pub async fn terminate(&self) {
        self.session.terminate(GRACE).await.expect("terminating");
    }
}

pub fn is_end(event: &Event) -> bool {
    matches!(event, Event::Exited { .. } | Event::Lost { .. })
}

/// A name that no other test has.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{count}", std::process::id())
}
