use std::sync::Arc;

use agentd_docker_engine::agent::{self, Stage};
use agentd_docker_engine::engine::status;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::Mutex;
use agentd_plugin_api::tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::logs;
use crate::member::{Member, Phase, Place};
use crate::watch::Watching;

/// How long Swarm may take to learn that a container has ended.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);
/// How long readers of a log may take to read what is left.
const READERS_PATIENCE: Duration = Duration::from_secs(5);
/// How long an agent that is ended on another node may be looked at: a little longer than its removal may take.
const LOOKS_PATIENCE: Duration = Duration::from_secs(45);
/// For so long what was said of the nodes is good enough.
const NODES_LIFETIME: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An agent in a Swarm.
pub struct SwarmSession {
    shared: Arc<Shared>,
    member: Arc<Member>,
    cancel: CancellationToken,
    /// One prompt at a time.
    input: Mutex<()>,
    /// Whether nothing is left; held while the service is being ended.
    removed: Mutex<bool>,
    _watching: Arc<Watching>,
}

impl SwarmSession {
    pub(crate) fn new(
        shared: Arc<Shared>,
        member: Arc<Member>,
        cancel: CancellationToken,
        watching: Arc<Watching>,
    ) -> Self {
        SwarmSession {
            shared,
            member,
            cancel,
            input: Mutex::default(),
            removed: Mutex::default(),
            _watching: watching,
        }
    }

    /// The container on this engine, as soon as it runs.
    async fn container(&self, what: &str) -> Result<String> {
        let mut places = self.member.place.subscribe();
        let is_settled = |place: &Place| place.phase != Phase::Starting;
        let place = places.wait_for(is_settled).await;
        let place = place.map_err(|_| Error::gone("the session is gone"))?;
        if place.phase == Phase::Over {
            return Err(Error::gone("the agent has ended"));
        }
        let is_here = place.node.as_ref() == Some(&self.shared.node);
        match &place.container {
            Some(container) if is_here => Ok(container.clone()),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the agent runs on node {}, and Swarm has no {what} on other nodes",
                    place.node_name
                ),
            )
            .hint("keep agents on this node with `options.constraints`")),
        }
    }
}

/// While it is there, an agent is being ended.
struct Ending<'a>(&'a Member);

impl Ending<'_> {
    fn begin(member: &Member) -> Ending<'_> {
        member.set_ending(true);
        Ending(member)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.set_ending(false);
    }
}

impl Session for SwarmSession {
    /// With the grace where the task is on the engine's own node; elsewhere Swarm itself ends it,
    /// with 10 seconds.
    async fn terminate(&self, grace: Duration) -> Result<()> {
        let mut removed = self.removed.lock().await;
        if !*removed {
            self.cancel.cancel();
            // A start that was cancelled has removed what it made.
            let stage = self.member.agent.stage.borrow().clone();
            if let Stage::Made(service) = stage {
                self.shared.within_reach().await?;
                let _ending = Ending::begin(&self.member);
                self.shared.end(&self.member, &service, grace).await?;
            }
            *removed = true;
        }
        Ok(())
    }

    async fn prompt(&self, text: String, submit: bool) -> Result<()> {
        let container = self.container("standard input").await?;
        self.shared.within_reach().await?;
        let _turn = self.input.lock().await;
        let (engine, tty) = (&self.shared.engine, self.member.agent.tty);
        engine.type_into(&container, &text, submit, tty).await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        if !self.member.agent.tty {
            return Err(Error::unsupported("resizing an agent without a terminal")
                .hint("start it with `options.tty`"));
        }
        let container = self.container("resizing").await?;
        self.shared.within_reach().await?;
        self.shared.engine.resize(&container, size).await
    }

    async fn logs(&self, query: LogQuery, sink: LogSink) -> Result<()> {
        logs::send(&self.shared, &self.member, query, sink).await
    }
}

impl Drop for SwarmSession {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Stage::Made(service) = &*self.member.agent.stage.borrow() {
            self.shared.watch.forget(service);
        }
    }
}

impl Shared {
    /// Ends an agent, reports how it ended and removes all that was made for it.
    async fn end(&self, member: &Member, service: &str, grace: Duration) -> Result<()> {
        let session = &member.agent.id;
        self.look_at(service, member).await?;
        let place = member.place.borrow().clone();
        let is_here = place.node.as_ref() == Some(&self.node);
        if let Some(container) = place
            .container
            .filter(|_| is_here && !member.agent.has_ended())
            && let Some(state) = self.inspect(&container).await?
        {
            self.engine.stop(&container, &state, grace).await?;
            if let Some(task) = &place.task {
                let news = timeout(NEWS_PATIENCE, self.look_until_end(member, task)).await;
                news.unwrap_or(Ok(()))?;
            }
            // A manager that was away itself may take this node for one that is down, of which it
            // has no news. Its engine knows all the same.
            if !member.agent.has_ended()
                && let Some(state) = self.dead(&container).await?
            {
                member.agent.exited(agent::end(&state));
            }
        }
        if member.agent.has_ended() {
            // Whoever follows the log reads the rest of it, which goes with the service.
            let _ = timeout(READERS_PATIENCE, member.log_readers.write()).await;
        }
        // A task that is ended elsewhere is gone soon after its end: whoever wants to see how it
        // ended has to look at it meanwhile.
        let looking = async {
            if let Some(task) = place.task.as_deref() {
                // That it cannot be seen is not a reason to leave it.
                let _ = timeout(LOOKS_PATIENCE, self.look_until_end(member, task)).await;
            }
        };
        let removal = self.remove_service(session, service);
        futures_util::future::join(removal, looking).await.0?;
        member.agent.lost("the service was removed");
        member.over();
        self.watch.forget(service);
        self.containers_gone(session).await?;
        match place.is_down {
            // Its task has the network until its node is back.
            true => {
                self.watch.remove_later(session, Duration::ZERO);
                Ok(())
            }
            false => self.remove_belongings(session).await,
        }
    }

    /// Reports what a task says until it says that it has ended, or nothing can be known of it.
    async fn look_until_end(&self, member: &Member, task: &str) -> Result<()> {
        let (mut nodes, mut asked) = (self.nodes().await?, Instant::now());
        while !(member.agent.has_ended() || member.place.borrow().is_down) {
            let task = match self.engine.client().inspect_task(task).await {
                Ok(task) => task,
                Err(error) if status(&error) == Some(404) => break,
                Err(error) => return Err(self.error("looking at the task", error)),
            };
            if asked.elapsed() > NODES_LIFETIME {
                (nodes, asked) = (self.nodes().await?, Instant::now());
            }
            self.report(member, &task, &nodes, None).await?;
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}
