//! Runs each agent in a Docker container of its own.
//!
//! - `options`: what a request may ask for · `container`: the settings of the container
//! - `pull`: the image · `launch`: from a request to a running container
//! - `watch`: the engine's event stream, and what happens while the engine is away
//! - `session`: input, logs and the end · `logs`: log lines
//!
//! The connection, the mounts and what is known of an agent are in `agentd_docker_engine`.
//!
//! A container is found again by its labels alone, and one without this daemon's instance label is
//! never touched.

mod container;
mod launch;
mod logs;
mod options;
mod pull;
mod session;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;
use tokio_util::sync::CancellationToken;

use crate::container::Plan;
use crate::options::Options;
use crate::pull::Pulls;
pub use crate::session::DockerSession;
use crate::watch::{Watch, Watching};
use agentd_docker_engine::agent::{Agent, Stage};
use agentd_docker_engine::engine::Engine;
use agentd_docker_engine::labels;
use agentd_docker_engine::mounts::Guarded;

/// The image of agents that ask for none, unless `AGENTD_DOCKER_IMAGE` says otherwise.
pub const DEFAULT_IMAGE: &str = "ghcr.io/geoffjay/agentd-agent:latest";

/// One connection to a Docker engine.
pub struct DockerBackend {
    shared: Arc<Shared>,
    watching: Arc<Watching>,
}

/// What the backend, its sessions and its tasks share.
struct Shared {
    engine: Engine,
    /// How many the engine's machine has.
    cpus: i64,
    instance: String,
    default_image: String,
    /// What no agent may see.
    private: Vec<PathBuf>,
    pulls: Arc<Pulls>,
    watch: Watch,
}

impl Backend for DockerBackend {
    type Session = DockerSession;

    fn manifest() -> Manifest {
        Manifest::new("docker", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::HealthCheck, Capability::Logs])
            .options_schema(options::schema())
            .persistent()
            .shell(&["/bin/sh"])
    }

    async fn connect(_host: Host, config: Config) -> Result<Self> {
        let engine = Engine::connect(config.setting("DOCKER_HOST")).await?;
        let facts = engine.facts().await?;
        let shared = Arc::new(Shared {
            default_image: config
                .setting("AGENTD_DOCKER_IMAGE")
                .unwrap_or(DEFAULT_IMAGE)
                .to_owned(),
            engine,
            cpus: facts.cpus,
            private: config.all_private(),
            instance: config.instance,
            pulls: Arc::default(),
            watch: Watch::default(),
        });
        let watching = Arc::new(watch::begin(shared.clone(), facts.now));
        Ok(DockerBackend { shared, watching })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<DockerSession> {
        let shared = &self.shared;
        let options = Options::parse(&spec.options)?;
        shared.within_reach().await?;
        let pull_policy = options.pull;
        let plan = {
            let shared = shared.clone();
            // It asks the file system, which may be slow to answer.
            tokio::task::spawn_blocking(move || {
                let guarded = Guarded::new(shared.engine.socket(), &shared.private);
                Plan::new(&spec, options, &shared, &guarded)
            })
            .await
            .map_err(|error| Error::internal(error.to_string()))??
        };
        let pull = pull::is_needed(&shared.engine, &plan.image, pull_policy).await?;

        let agent = Arc::new(Agent::new(
            plan.session.clone(),
            plan.tty,
            events,
            Stage::Preparing,
        ));
        let cancel = CancellationToken::new();
        let session = DockerSession::new(
            shared.clone(),
            agent.clone(),
            cancel.clone(),
            self.watching.clone(),
        );
        if pull {
            agent.starting("pulling image");
            tokio::spawn(launch::later(shared.clone(), agent, plan, cancel));
        } else {
            let undo = launch::Undo::new(shared.clone(), agent.clone(), cancel.clone());
            tokio::spawn(launch::now(shared.clone(), agent, plan, cancel))
                .await
                .map_err(|error| Error::internal(error.to_string()))??;
            undo.disarm();
        }
        Ok(session)
    }

    async fn list(&self) -> Result<Vec<Found>> {
        let containers = self.shared.containers(None).await?;
        Ok(containers
            .into_iter()
            .filter_map(|container| {
                let mut labels = container.labels?;
                Some(Found {
                    id: labels.remove(labels::SESSION)?,
                    label: labels.remove(labels::LABEL).unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn adopt(&self, id: String, events: SessionEvents) -> Result<DockerSession> {
        let shared = &self.shared;
        let found = shared.containers(Some(&id)).await?.into_iter().next();
        let container = found
            .and_then(|container| container.id)
            .ok_or_else(|| Error::gone(format!("no container belongs to session `{id}`")))?;
        let agent = launch::adopt(shared, &id, container, events).await?;
        Ok(DockerSession::new(
            shared.clone(),
            agent,
            CancellationToken::new(),
            self.watching.clone(),
        ))
    }
}

export_backend!(DockerBackend);
