//! Runs each agent as a service of a Docker Swarm: one task, on the node that the scheduler chooses.
//!
//! - `options`: what a request may ask for · `service`: the service that it becomes
//! - `launch`: from a request to a service · `belongings`: its network and its secrets
//! - `member`: what is known of an agent and its task · `nodes`: the machines
//! - `watch`: all tasks, also while the manager is away · `tasks`: what the state of one means
//! - `session`: input and the end · `logs`: log lines
//!
//! A service is found again by its labels alone, and one without this daemon's instance label is
//! never touched. Nothing is restarted by Swarm: that is the orchestrator's to decide.

mod belongings;
mod launch;
mod logs;
mod member;
mod nodes;
mod options;
mod service;
mod session;
mod tasks;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use agentd_docker_engine::engine::Engine;
use agentd_docker_engine::labels;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;
use bollard::models::{LocalNodeState, SystemInfo};
use tokio_util::sync::CancellationToken;

use crate::member::Member;
use crate::options::Options;
use crate::service::Plan;
pub use crate::session::SwarmSession;
use crate::watch::{Watch, Watching};

/// The image of agents that ask for none, unless `AGENTD_SWARM_IMAGE` or `AGENTD_DOCKER_IMAGE`
/// says otherwise.
pub const DEFAULT_IMAGE: &str = "ghcr.io/geoffjay/agentd-agent:latest";

/// Older ones ignore that capabilities are dropped and processes limited.
const OLDEST_API: (usize, usize) = (1, 41);

/// One connection to a manager of a Swarm.
pub struct SwarmBackend {
    shared: Arc<Shared>,
    watching: Arc<Watching>,
}

/// What the backend, its sessions and its tasks share.
struct Shared {
    engine: Engine,
    /// The id of the engine's own node.
    node: String,
    /// How many the engine's own machine has.
    cpus: i64,
    instance: String,
    default_image: String,
    /// Agents may ask for the network of their machine.
    host_network: bool,
    /// What no agent may see.
    private: Vec<PathBuf>,
    watch: Watch,
}

impl Backend for SwarmBackend {
    type Session = SwarmSession;

    fn manifest() -> Manifest {
        Manifest::new("swarm", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::HealthCheck, Capability::Logs])
            .options_schema(options::schema())
            .persistent()
            .runs_elsewhere()
            .shell(&["/bin/sh"])
    }

    async fn connect(_host: Host, config: Config) -> Result<Self> {
        let host_network = match config.setting("AGENTD_SWARM_HOST_NETWORK") {
            None | Some("off") => false,
            Some("on") => true,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "`AGENTD_SWARM_HOST_NETWORK` has the value `{other}`, which is not understood"
                ))
                .hint("use `on` or `off`"));
            }
        };
        let engine = Engine::connect(config.setting("DOCKER_HOST")).await?;
        let api = engine.client().client_version();
        if (api.major_version, api.minor_version) < OLDEST_API {
            let why =
                format!("the engine speaks version {api} of Docker's API, and 1.41 is needed");
            return Err(Error::unavailable(why).hint("install Docker 20.10 or later"));
        }
        let info = engine.info().await?;
        let image = ["AGENTD_SWARM_IMAGE", "AGENTD_DOCKER_IMAGE"];
        let shared = Arc::new(Shared {
            default_image: image
                .into_iter()
                .find_map(|name| config.setting(name))
                .unwrap_or(DEFAULT_IMAGE)
                .to_owned(),
            engine,
            node: manager(&info)?,
            cpus: info.ncpu.unwrap_or(1).max(1),
            host_network,
            private: config.all_private(),
            instance: config.instance,
            watch: Watch::default(),
        });
        shared.in_time(shared.remove_leftovers()).await?;
        let watching = Arc::new(watch::begin(shared.clone()));
        Ok(SwarmBackend { shared, watching })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<SwarmSession> {
        let shared = &self.shared;
        let options = Options::parse(&spec.options, shared)?;
        shared.within_reach().await?;
        let plan = {
            let shared = shared.clone();
            // It asks the file system, which may be slow to answer.
            tokio::task::spawn_blocking(move || Plan::new(&spec, options, &shared))
                .await
                .map_err(|error| Error::internal(error.to_string()))??
        };
        let member = Arc::new(Member::new(
            plan.session.clone(),
            plan.tty,
            Some(plan.size),
            events,
        ));
        let cancel = CancellationToken::new();
        let session = SwarmSession::new(
            shared.clone(),
            member.clone(),
            cancel.clone(),
            self.watching.clone(),
        );
        let undo = launch::Undo::new(shared.clone(), member.clone(), cancel.clone());
        tokio::spawn(launch::now(shared.clone(), member, plan, cancel))
            .await
            .map_err(|error| Error::internal(error.to_string()))??;
        undo.disarm();
        Ok(session)
    }

    async fn list(&self) -> Result<Vec<Found>> {
        let services = self.shared.services(None).await?;
        Ok(services
            .into_iter()
            .filter_map(|service| {
                let mut labels = service.spec?.labels?;
                Some(Found {
                    id: labels.remove(labels::SESSION)?,
                    label: labels.remove(labels::LABEL).unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn adopt(&self, id: String, events: SessionEvents) -> Result<SwarmSession> {
        let shared = &self.shared;
        let found = shared.services(Some(&id)).await?.into_iter().next();
        let service =
            found.ok_or_else(|| Error::gone(format!("no service belongs to session `{id}`")))?;
        let member = launch::adopt(shared, id, service, events).await?;
        Ok(SwarmSession::new(
            shared.clone(),
            member,
            CancellationToken::new(),
            self.watching.clone(),
        ))
    }
}

/// The id of the engine's node, if it is a manager.
fn manager(info: &SystemInfo) -> Result<String> {
    let swarm = info.swarm.clone().unwrap_or_default();
    let (what, hint) = match swarm.local_node_state {
        Some(LocalNodeState::ACTIVE) if swarm.control_available == Some(true) => {
            return swarm
                .node_id
                .ok_or_else(|| Error::internal("the engine does not say which node it is"));
        }
        Some(LocalNodeState::ACTIVE) => (
            "this engine is a worker of its swarm",
            "set `DOCKER_HOST` to the engine of a manager, or make this one a manager with \
             `docker node promote`",
        ),
        Some(LocalNodeState::LOCKED) => (
            "the swarm of this engine is locked",
            "unlock it with `docker swarm unlock`",
        ),
        Some(LocalNodeState::PENDING | LocalNodeState::ERROR) => (
            "this engine has no contact with its swarm",
            "see what `docker info` says of it",
        ),
        _ => (
            "this engine is not part of a swarm",
            "make it one with `docker swarm init`",
        ),
    };
    let why = swarm.error.filter(|error| !error.is_empty());
    let why = why.map_or(String::new(), |error| format!(": {error}"));
    Err(Error::unavailable(format!("{what}{why}")).hint(hint))
}

export_backend!(SwarmBackend);
