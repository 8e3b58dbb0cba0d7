//! What the tests are written with: a backend on the tests' Swarm, and agents in it.

use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use agentd_backend_swarm::{SwarmBackend, SwarmSession};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::{Recorded, Recorder, host};
use bollard::Docker;
use bollard::models::{ContainerInspectResponse, Service, SwarmInitRequest};
use bollard::query_parameters::{
    InspectServiceOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListSecretsOptionsBuilder, ListServicesOptionsBuilder, ListVolumesOptions,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

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

/// An engine that is a Swarm of one node, with the images.
pub async fn swarm() -> Engine {
    let engine = Engine::start();
    image::build(&engine).await;
    let docker = image::client(&engine.docker_host());
    let init = docker.init_swarm(SwarmInitRequest {
        listen_addr: Some("127.0.0.1:2377".to_owned()),
        advertise_addr: Some("127.0.0.1".to_owned()),
        ..SwarmInitRequest::default()
    });
    init.await.expect("making a swarm");
    engine
}

/// A daemon's view: a backend with an instance of its own.
pub struct World {
    pub backend: SwarmBackend,
    pub docker: Docker,
    pub config: Config,
    _state: TempDir,
}

impl World {
    pub async fn shared() -> World {
        World::on(&shared_engine().docker_host()).await
    }

    pub async fn on(docker_host: &str) -> World {
        World::with(docker_host, &[]).await
    }

    pub async fn with(docker_host: &str, settings: &[(&str, &str)]) -> World {
        let state = tempfile::tempdir().expect("a state directory");
        let always = [
            ("DOCKER_HOST", docker_host),
            ("AGENTD_SWARM_IMAGE", image::PLAIN),
        ];
        let settings = always.iter().chain(settings);
        let config = Config {
            instance: unique("instance"),
            state_dir: state.path().to_owned(),
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            private: Vec::new(),
        };
        World {
            backend: connect(&config).await.expect("connecting"),
            docker: image::client(docker_host),
            config,
            _state: state,
        }
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

    /// Takes over an agent of an earlier daemon.
    pub async fn adopt(&self, id: &str) -> Agent {
        let events = Recorder::new();
        let session = self.backend.adopt(id.to_owned(), events.events()).await;
        Agent {
            id: id.to_owned(),
            session: session.expect("adopting"),
            events,
            workspace: Workspace::new(),
        }
    }

    /// Starts what has to be refused.
    pub async fn refused(&self, options: Value) -> Error {
        let workspace = Workspace::new();
        self.refused_spec(workspace.spec(&["sleep", "60"], options))
            .await
    }

    pub async fn refused_spec(&self, spec: SessionSpec) -> Error {
        let (recorder, id) = (Recorder::new(), spec.id.clone());
        let refused = self.backend.start(spec, recorder.events()).await;
        let events = recorder.recorded().events;
        assert_eq!(events, [], "nothing is reported of what is refused");
        assert_eq!(self.remains(&id).await, [""; 0]);
        refused.err().expect("a refusal")
    }

    /// What the engine says of an agent's container.
    pub async fn inspect(&self, agent: &Agent) -> ContainerInspectResponse {
        let ids = self.containers(&agent.id).await;
        assert_eq!(ids.len(), 1, "one container per agent");
        let inspected = self.docker.inspect_container(&ids[0], None).await;
        inspected.expect("inspecting")
    }

    /// What the manager says of an agent's service.
    pub async fn service(&self, agent: &Agent) -> Service {
        let options = ListServicesOptionsBuilder::new()
            .filters(&of_session(&agent.id))
            .build();
        let listed = self.docker.list_services(Some(options)).await;
        let service = listed.expect("listing the services").remove(0);
        let id = service.id.expect("an id");
        let inspected = self
            .docker
            .inspect_service(&id, None::<InspectServiceOptions>);
        inspected.await.expect("inspecting")
    }

    /// The ids of a session's containers, dead or alive.
    pub async fn containers(&self, session: &str) -> Vec<String> {
        self.containers_at(&self.docker, session).await
    }

    /// The same of another engine.
    pub async fn containers_at(&self, docker: &Docker, session: &str) -> Vec<String> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&of_session(session))
            .build();
        let listed = docker.list_containers(Some(options)).await;
        let listed = listed.expect("listing the containers");
        listed
            .into_iter()
            .filter_map(|container| container.id)
            .collect()
    }

    /// How many of this daemon's containers run at an engine.
    pub async fn running_at(&self, docker: &Docker) -> usize {
        let instance = format!("agentd.instance={}", self.config.instance);
        let options = ListContainersOptionsBuilder::new()
            .filters(&HashMap::from([("label", vec![instance])]))
            .build();
        let listed = docker.list_containers(Some(options)).await;
        listed.expect("listing the containers").len()
    }

    /// All that there is of a session.
    pub async fn remains(&self, session: &str) -> Vec<String> {
        let filters = of_session(session);
        let services = ListServicesOptionsBuilder::new().filters(&filters).build();
        let services = self.docker.list_services(Some(services)).await;
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(networks)).await;
        let secrets = ListSecretsOptionsBuilder::new().filters(&filters).build();
        let secrets = self.docker.list_secrets(Some(secrets)).await;
        let mut remains = self.containers(session).await;
        for service in services.expect("listing the services") {
            remains.push(format!("service {:?}", service.id));
        }
        for network in networks.expect("listing the networks") {
            remains.push(format!("network {:?}", network.id));
        }
        for secret in secrets.expect("listing the secrets") {
            remains.push(format!("secret {:?}", secret.id));
        }
        remains
    }

    /// The names of the engine's volumes.
    pub async fn volumes(&self) -> Vec<String> {
        let listed = self.docker.list_volumes(None::<ListVolumesOptions>).await;
        let volumes = listed.expect("listing the volumes").volumes;
        let volumes = volumes.unwrap_or_default().into_iter();
        volumes.map(|volume| volume.name).collect()
    }
}

fn of_session(session: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("agentd.session={session}")])])
}

pub async fn connect(config: &Config) -> Result<SwarmBackend> {
    SwarmBackend::connect(host(), config.clone()).await
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
    pub session: SwarmSession,
    pub events: Arc<Recorder>,
    pub workspace: Workspace,
}

impl Agent {
    /// Waits for the end and returns it.
    pub async fn end(&self) -> Event {
        let recorded = self.events.wait_for("the agent's end", |recorded| {
            recorded.events.last().is_some_and(is_end)
        });
        let events = recorded.await.events;
        let ends = events.iter().filter(|event| is_end(event)).count();
        assert_eq!(ends, 1, "{events:?}");
        events.last().cloned().expect("an event")
    }

    pub async fn exit(&self) -> ExitStatus {
        match self.end().await {
            Event::Exited { status } => status,
            other => panic!("not an exit: {other:?}"),
        }
    }

    /// Waits until it runs, and returns its process id.
    pub async fn running(&self) -> Option<u32> {
        let is_running = |event: &&Event| matches!(event, Event::Running { .. });
        let recorded = self.events.wait_for("the agent to run", |recorded| {
            recorded.events.iter().any(|event| is_running(&event))
        });
        match recorded.await.events.iter().rfind(is_running) {
            Some(Event::Running { pid }) => *pid,
            _ => None,
        }
    }

    pub async fn wait_for(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Recorded {
        self.events
            .wait_for(what, |recorded| recorded.events.iter().any(&is_it))
            .await
    }

    /// The log as it is now.
    pub async fn log(&self, query: LogQuery) -> Vec<LogLine> {
        let recorder = Recorder::new();
        let read = self.session.logs(query, recorder.log());
        let read = timeout(Duration::from_secs(60), read).await;
        read.expect("the log's end").expect("logs");
        recorder.recorded().lines
    }

    pub async fn text(&self) -> Vec<String> {
        let lines = self.log(LogQuery::default()).await;
        lines.into_iter().map(|line| line.line).collect()
    }

    /// Looks into the log until it has `line`.
    pub async fn wait_for_line(&self, line: &str) {
        let seen = async {
            while !self.text().await.iter().any(|logged| logged == line) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let seen = timeout(Duration::from_secs(60), seen).await;
        if seen.is_err() {
            panic!(
                "waited in vain for {line}; the log: {:?}",
                self.text().await
            );
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
