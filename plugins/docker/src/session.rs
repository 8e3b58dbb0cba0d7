use std::collections::HashMap;
use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::Mutex;
use agentd_plugin_api::tokio::time::{Instant, sleep};
use agentd_plugin_api::tracing;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::logs;
use crate::watch::Watching;
use agentd_docker_engine::agent::{Agent, Stage};
use agentd_docker_engine::engine::status;
use agentd_docker_engine::labels::{INSTANCE, SESSION};

/// How long a removal that somebody else began may take.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);

/// An agent in a container.
pub struct DockerSession {
    shared: Arc<Shared>,
    agent: Arc<Agent>,
    cancel: CancellationToken,
    /// One prompt at a time.
    input: Mutex<()>,
    /// Whether nothing is left; held while the container is being ended.
    removed: Mutex<bool>,
    _watching: Arc<Watching>,
}

impl DockerSession {
    pub(crate) fn new(
        shared: Arc<Shared>,
        agent: Arc<Agent>,
        cancel: CancellationToken,
        watching: Arc<Watching>,
    ) -> Self {
        DockerSession {
            shared,
            agent,
            cancel,
            input: Mutex::default(),
            removed: Mutex::default(),
            _watching: watching,
        }
    }

    /// The container's id, as soon as it runs.
    async fn container(&self) -> Result<String> {
        let mut stage = self.agent.stage.subscribe();
        let settled = stage.wait_for(|stage| !matches!(stage, Stage::Preparing));
        match settled.await.as_deref() {
            Ok(Stage::Made(id)) => Ok(id.clone()),
            Ok(Stage::Failed(failure)) => Err(Error::gone(failure.error.message.clone())),
            _ => Err(Error::gone("the session is gone")),
        }
    }
}

impl Session for DockerSession {
    async fn terminate(&self, grace: Duration) -> Result<()> {
        let mut removed = self.removed.lock().await;
        if !*removed {
            self.cancel.cancel();
            // A start that was cancelled has removed what it made.
            if let Ok(container) = self.container().await {
                self.shared.within_reach().await?;
                self.shared.end(&self.agent, &container, grace).await?;
            }
            *removed = true;
        }
        Ok(())
    }

    async fn prompt(&self, text: String, submit: bool) -> Result<()> {
        let container = self.container().await?;
        if self.agent.has_ended() {
            return Err(Error::gone("the agent has ended"));
        }
        self.shared.within_reach().await?;
        let _turn = self.input.lock().await;
        let engine = &self.shared.engine;
        engine
            .type_into(&container, &text, submit, self.agent.tty)
            .await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        if !self.agent.tty {
            return Err(Error::unsupported("resizing an agent without a terminal")
                .hint("start it with `options.tty`"));
        }
        let container = self.container().await?;
        self.shared.within_reach().await?;
        self.shared.engine.resize(&container, size).await
    }

    async fn logs(&self, query: LogQuery, sink: LogSink) -> Result<()> {
        logs::send(&self.shared.engine, &self.agent, query, sink).await
    }
}

impl Drop for DockerSession {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.shared.watch.remove(&self.agent);
    }
}

impl Shared {
    /// Fails at once when the engine is known to be out of reach, and still is: one that hangs
    /// would keep a request waiting for minutes.
    pub(crate) async fn within_reach(&self) -> Result<()> {
        if self.watch.is_away() {
            self.engine.ping_anew().await?;
        }
        Ok(())
    }

    /// This daemon's containers, or those of one of its sessions; also those that have ended.
    pub(crate) async fn containers(&self, session: Option<&str>) -> Result<Vec<ContainerSummary>> {
        let mut labels = vec![format!("{INSTANCE}={}", self.instance)];
        labels.extend(session.map(|session| format!("{SESSION}={session}")));
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", labels)]))
            .build();
        let client = self.engine.client();
        let listed = client.list_containers(Some(options)).await;
        listed.map_err(|error| self.engine.error("listing the containers", error))
    }

    /// Stops the container, reports how it ended and removes it.
    async fn end(&self, agent: &Agent, container: &str, grace: Duration) -> Result<()> {
        let found = self.engine.inspect(container).await?;
        if let Some(state) = found.and_then(|found| found.state) {
            self.engine.stop(container, &state, grace).await?;
        }
        self.settle(agent, container).await?;
        self.remove(container).await?;
        agent.lost("the container was removed");
        self.watch.remove(agent);
        Ok(())
    }

    /// Removes a container, dead or alive, and returns when it is gone.
    async fn remove(&self, container: &str) -> Result<()> {
        let deadline = Instant::now() + REMOVAL_PATIENCE;
        loop {
            let options = RemoveContainerOptionsBuilder::new()
                .force(true)
                .v(true)
                .build();
            let client = self.engine.client();
            let error = match client.remove_container(container, Some(options)).await {
                Ok(()) => return Ok(()),
                Err(error) if status(&error) == Some(404) => return Ok(()),
                Err(error) => error,
            };
            // A removal is already in progress.
            if status(&error) != Some(409) || Instant::now() > deadline {
                return Err(self.engine.error("removing the container", error));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Removes what a start that failed left behind, now or when the engine is back.
    pub(crate) async fn discard(&self, session: &str) {
        if let Err(error) = self.remove_all(session).await {
            tracing::warn!(%session, %error, "a container has to be removed later");
            self.watch.remove_later(session);
        }
    }

    pub(crate) async fn remove_all(&self, session: &str) -> Result<()> {
        for container in self.containers(Some(session)).await? {
            if let Some(id) = container.id {
                self.watch.forget(&id);
                self.remove(&id).await?;
            }
        }
        Ok(())
    }
}
