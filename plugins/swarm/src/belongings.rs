//! What is made for an agent beside its service: a network and secrets. They carry its labels and
//! go with it.

use std::collections::{HashMap, HashSet};

use agentd_docker_engine::engine::status;
use agentd_docker_engine::labels::{INSTANCE, SESSION};
use agentd_plugin_api::options::refused;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::time::{Instant, sleep};
use agentd_plugin_api::tracing;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::errors::Error as ClientError;
use bollard::models::{
    NetworkCreateRequest, SecretSpec, Service, TaskSpecContainerSpecFile,
    TaskSpecContainerSpecSecrets,
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListSecretsOptionsBuilder,
    ListServicesOptionsBuilder,
};

use crate::Shared;
use crate::options::MOST_SECRET_BYTES;
use crate::service::Plan;

/// How long what the tasks of a removed service used may still be in use.
const RELEASE_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A variable that only the agent sees.
pub(crate) struct Secret {
    name: String,
    value: String,
    file: TaskSpecContainerSpecFile,
}

impl Secret {
    pub(crate) fn new(name: &str, value: &str, user: &str) -> Result<Secret> {
        if value.len() > MOST_SECRET_BYTES {
            let why = format!("`{name}` has more than {MOST_SECRET_BYTES} bytes");
            return Err(refused("secrets", why));
        }
        // Swarm takes no secret without content.
        if value.is_empty() {
            return Err(refused("secrets", format!("`{name}` is empty")));
        }
        let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        // Whose number a name is, only the image knows: then whoever is in the container may read it.
        let (uid, gid, mode) = match is_number(uid) && is_number(gid) {
            true => (uid, gid, 0o400),
            false => ("0", "0", 0o444),
        };
        Ok(Secret {
            name: name.to_owned(),
            value: BASE64_STANDARD.encode(value),
            file: TaskSpecContainerSpecFile {
                name: Some(name.to_owned()),
                uid: Some(uid.to_owned()),
                gid: Some(gid.to_owned()),
                mode: Some(mode),
            },
        })
    }

    /// Where it is in the container.
    pub(crate) fn path(&self) -> String {
        format!("/run/secrets/{}", self.name)
    }
}

impl Shared {
    /// Makes the network of an agent that is isolated, and returns its id.
    pub(crate) async fn make_network(&self, plan: &Plan) -> Result<String> {
        let request = NetworkCreateRequest {
            name: plan.name.clone(),
            driver: Some("overlay".to_owned()),
            internal: Some(true),
            attachable: Some(false),
            labels: Some(plan.labels.clone()),
            ..NetworkCreateRequest::default()
        };
        let made = self.engine.client().create_network(request).await;
        made.map(|network| network.id)
            .map_err(|error| self.error("creating the network", error))
    }

    /// Makes one of the plan's secrets, the `at`th.
    pub(crate) async fn make_secret(
        &self,
        plan: &Plan,
        at: usize,
        secret: &Secret,
    ) -> Result<TaskSpecContainerSpecSecrets> {
        let name = format!("agentd-{}-{at}", plan.session);
        let spec = SecretSpec {
            name: Some(name.clone()),
            labels: Some(plan.labels.clone()),
            data: Some(secret.value.clone()),
            ..SecretSpec::default()
        };
        let made = self.engine.client().create_secret(spec).await;
        let made = made.map_err(|error| self.error("creating a secret", error))?;
        Ok(TaskSpecContainerSpecSecrets {
            file: Some(secret.file.clone()),
            secret_id: Some(made.id),
            secret_name: Some(name),
        })
    }

    /// This daemon's services, or those of one of its sessions.
    pub(crate) async fn services(&self, session: Option<&str>) -> Result<Vec<Service>> {
        let options = ListServicesOptionsBuilder::new()
            .filters(&self.ours(session))
            .build();
        let listed = self.engine.client().list_services(Some(options)).await;
        listed.map_err(|error| self.error("listing the services", error))
    }

    /// Removes all that was made for a session, and returns when it is gone.
    pub(crate) async fn remove_all(&self, session: &str) -> Result<()> {
        for service in self.services(Some(session)).await? {
            if let Some(id) = service.id {
                self.watch.forget(&id);
                self.remove_service(session, &id).await?;
            }
        }
        self.containers_gone(session).await?;
        self.remove_belongings(session).await
    }

    /// Removes a session's service, and returns when its tasks are over, but for those on nodes that are down.
    pub(crate) async fn remove_service(&self, session: &str, service: &str) -> Result<()> {
        let (tasks, nodes) = (self.tasks(Some(session)).await?, self.nodes().await?);
        match self.engine.client().delete_service(service).await {
            Err(error) if status(&error) != Some(404) => {
                return Err(self.error("removing the service", error));
            }
            _ => {}
        }
        let is_down = |id: &String| nodes.get(id).is_some_and(|node| node.is_down);
        let tasks = tasks
            .into_iter()
            .filter(|task| !task.node_id.as_ref().is_some_and(is_down));
        for id in tasks.filter_map(|task| task.id) {
            self.until_gone("the task", || self.has_task(&id)).await?;
        }
        Ok(())
    }

    /// Waits until this engine has no container of a session whose service is gone: it removes
    /// them, with their volumes, after the task is gone.
    pub(crate) async fn containers_gone(&self, session: &str) -> Result<()> {
        self.until_gone("the container", || self.has_container(session))
            .await
    }

    async fn has_task(&self, task: &str) -> Result<bool> {
        match self.engine.client().inspect_task(task).await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(self.error("looking for the task", error)),
        }
    }

    async fn has_container(&self, session: &str) -> Result<bool> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&self.ours(Some(session)))
            .build();
        let listed = self.engine.client().list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.error("listing the containers", error))?;
        Ok(!listed.is_empty())
    }

    async fn until_gone<F>(&self, what: &str, is_there: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<bool>>,
    {
        let deadline = Instant::now() + RELEASE_PATIENCE;
        while is_there().await? {
            if Instant::now() > deadline {
                let why = format!("{what} of a service that was removed is still there");
                return Err(Error::internal(why)
                    .hint("see what `docker node ls` says of its node, and try again"));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Removes the network and the secrets of a session whose service is gone.
    pub(crate) async fn remove_belongings(&self, session: &str) -> Result<()> {
        let client = self.engine.client();
        for (_, secret) in self.secrets(Some(session)).await? {
            let remove = || client.delete_secret(&secret);
            self.until_released("removing a secret", remove).await?;
        }
        for (_, network) in self.networks(Some(session)).await? {
            let remove = || client.remove_network(&network);
            self.until_released("removing the network", remove).await?;
        }
        Ok(())
    }

    /// Removes what earlier starts have left without a service. Nothing may be starting.
    pub(crate) async fn remove_leftovers(&self) -> Result<()> {
        let services = self.services(None).await?;
        let alive: HashSet<String> = services
            .into_iter()
            .filter_map(|service| service.spec?.labels?.remove(SESSION))
            .collect();
        let mut left = self.networks(None).await?;
        left.extend(self.secrets(None).await?);
        let left: HashSet<String> = left.into_iter().map(|(session, _)| session).collect();
        for session in left.difference(&alive) {
            tracing::info!(%session, "removing what a start without a service has left");
            self.watch.remove_later(session, Duration::ZERO);
        }
        Ok(())
    }

    /// Removes what a start that failed left behind, now or when the manager is back.
    pub(crate) async fn discard(&self, session: &str) {
        if let Err(error) = self.remove_all(session).await {
            tracing::warn!(%session, %error, "a service has to be removed later");
            self.watch.remove_later(session, Duration::ZERO);
        }
    }

    /// The sessions and the ids of networks.
    async fn networks(&self, session: Option<&str>) -> Result<Vec<(String, String)>> {
        let options = ListNetworksOptionsBuilder::new()
            .filters(&self.ours(session))
            .build();
        let listed = self.engine.client().list_networks(Some(options)).await;
        let listed = listed.map_err(|error| self.error("listing the networks", error))?;
        Ok(listed
            .into_iter()
            .filter_map(|network| Some((network.labels?.remove(SESSION)?, network.id?)))
            .collect())
    }

    async fn secrets(&self, session: Option<&str>) -> Result<Vec<(String, String)>> {
        let options = ListSecretsOptionsBuilder::new()
            .filters(&self.ours(session))
            .build();
        let listed = self.engine.client().list_secrets(Some(options)).await;
        let listed = listed.map_err(|error| self.error("listing the secrets", error))?;
        Ok(listed
            .into_iter()
            .filter_map(|secret| Some((secret.spec?.labels?.remove(SESSION)?, secret.id?)))
            .collect())
    }

    /// A filter for what this daemon made, or made for one of its sessions.
    pub(crate) fn ours(&self, session: Option<&str>) -> HashMap<&'static str, Vec<String>> {
        let mut labels = vec![format!("{INSTANCE}={}", self.instance)];
        labels.extend(session.map(|session| format!("{SESSION}={session}")));
        HashMap::from([("label", labels)])
    }

    /// Tries again while tasks that are being ended still use it.
    async fn until_released<F>(&self, doing: &str, remove: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<(), ClientError>>,
    {
        let deadline = Instant::now() + RELEASE_PATIENCE;
        loop {
            let error = match remove().await {
                Ok(()) => return Ok(()),
                Err(error) if status(&error) == Some(404) => return Ok(()),
                Err(error) => error,
            };
            // Which status that has depends on the kind of thing and the version.
            if status(&error).is_none() || Instant::now() > deadline {
                return Err(self.error(doing, error));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
