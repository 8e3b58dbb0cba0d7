//! What the state of a task means for its agent.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use agentd_docker_engine::agent::{self, ENGINE_STOPPED};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::time::{Instant, sleep};
use bollard::models::{ContainerState, HealthStatusEnum, Task, TaskState, TaskStatus};

use crate::Shared;
use crate::member::{Member, Phase, Place};
use crate::nodes::Nodes;

/// The scheduler or the node refused it.
const TASK_REJECTED: &str = "task-rejected";
/// Swarm ended it: its node was down or drained.
const SWARM_STOPPED: &str = "swarm-stopped";
/// Swarm ends a task whose health check fails.
const UNHEALTHY: &str = "unhealthy";

/// An engine may learn later that the kernel killed an agent for exceeding its memory limit.
const REASON_PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Shared {
    /// Reports what a task says of its agent. `away_since`: until now the manager was out of reach.
    pub(crate) async fn report(
        &self,
        member: &Member,
        task: &Task,
        nodes: &Nodes,
        away_since: Option<jiff::Timestamp>,
    ) -> Result<()> {
        let status = task.status.clone().unwrap_or_default();
        let place = place(task, &status, nodes);
        let down = place.is_down.then(|| place.node_name.clone());
        let container = place.container.clone();
        let here = container
            .as_deref()
            .filter(|_| place.node.as_ref() == Some(&self.node));
        // Before the end is reported, after which nobody waits for the log any more.
        member.set_place(place.clone());
        match (&status.state, down) {
            (Some(TaskState::COMPLETE | TaskState::FAILED | TaskState::SHUTDOWN), _) => {
                let ended = self.ended(member, &status, here, away_since).await?;
                member.agent.exited(ended);
            }
            (Some(TaskState::REJECTED), _) => member.agent.exited(ExitStatus {
                reason: Some(TASK_REJECTED.to_owned()),
                ..ExitStatus::default()
            }),
            (Some(TaskState::ORPHANED), _) => {
                let why = format!("Swarm gave up on its node {}", place.node_name);
                member.agent.lost(&why);
            }
            // It goes with its service, and how it ended is not known yet.
            (Some(TaskState::REMOVE), _) => {}
            (_, Some(down)) => member.unknown(&format!("node {down} is down")),
            (Some(TaskState::RUNNING), None) => self.alive(member, &status, here).await,
            _ => member.starting(&progress(&status)),
        }
        Ok(())
    }

    async fn alive(&self, member: &Member, status: &TaskStatus, here: Option<&str>) {
        let process = status
            .container_status
            .as_ref()
            .and_then(|status| status.pid);
        let pid = here.and_then(|container| agent::pid_here(process?, container));
        let is_unchecked = member.is_unchecked.load(Ordering::Relaxed);
        let size = {
            let mut size = member.size.lock().unwrap_or_else(PoisonError::into_inner);
            here.and_then(|_| size.take())
        };
        if let (Some(container), Some(size)) = (here, size) {
            // An agent that has ended already needs it no more; another one is given it at the next look.
            if self
                .in_time(self.engine.resize(container, size))
                .await
                .is_err()
            {
                let mut again = member.size.lock().unwrap_or_else(PoisonError::into_inner);
                again.get_or_insert(size);
            }
        }
        member.agent.running(pid);
        if let Some(container) = here
            && !is_unchecked
            && let Ok(Some(state)) = self.inspect(container).await
        {
            let checked = state.health.as_ref().and_then(|health| health.status);
            let none = matches!(
                checked,
                None | Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY)
            );
            member.is_unchecked.store(none, Ordering::Relaxed);
            member.agent.health(agent::health(&state));
        }
    }

    /// How an agent ended. What the engine of its node says counts more than what Swarm says, which
    /// has a code of 0 where it has none.
    async fn ended(
        &self,
        member: &Member,
        status: &TaskStatus,
        here: Option<&str>,
        away_since: Option<jiff::Timestamp>,
    ) -> Result<ExitStatus> {
        let why = status.err.as_deref().unwrap_or_default();
        let state = match here {
            Some(container) => match self.dead(container).await {
                Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                // An engine that cannot say more than Swarm.
                dead => dead.unwrap_or(None),
            },
            None => None,
        };
        let code = status
            .container_status
            .as_ref()
            .and_then(|status| status.exit_code);
        let mut ended = match (&state, code.filter(|code| *code != 0)) {
            (Some(state), _) => agent::end(state),
            (None, Some(code)) => agent::exit_status(code, false),
            (None, None) if status.state == Some(TaskState::COMPLETE) => ExitStatus::code(0),
            // An engine that begins anew removes the containers of the tasks that it had.
            (None, None) if why.starts_with("No such container") => ExitStatus {
                reason: Some(ENGINE_STOPPED.to_owned()),
                ..ExitStatus::default()
            },
            (None, None) => ExitStatus::default(),
        };
        let is_killed = ended.signal.is_some();
        let went_down = state.and_then(|state| finished(&state)) > away_since;
        if why.contains("unhealthy container") {
            ended.reason.get_or_insert_with(|| UNHEALTHY.to_owned());
        } else if status.state == Some(TaskState::SHUTDOWN) && !member.is_ending() {
            ended.reason.get_or_insert_with(|| SWARM_STOPPED.to_owned());
        } else if is_killed && away_since.is_some() && went_down {
            ended
                .reason
                .get_or_insert_with(|| ENGINE_STOPPED.to_owned());
        }
        Ok(ended)
    }

    /// The last state of a container of this engine, if it still has it.
    pub(crate) async fn dead(&self, container: &str) -> Result<Option<ContainerState>> {
        let deadline = Instant::now() + REASON_PATIENCE;
        loop {
            let state = self.inspect(container).await?;
            let has_ended =
                |state: &ContainerState| !agent::is_alive(state) && !agent::is_new(state);
            let state = state.filter(has_ended);
            let is_unclear = state.as_ref().is_some_and(agent::is_killed_without_reason);
            if !is_unclear || Instant::now() > deadline {
                return Ok(state);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        let found = self.in_time(self.engine.inspect(container)).await?;
        Ok(found.and_then(|found| found.state))
    }
}

fn place(task: &Task, status: &TaskStatus, nodes: &Nodes) -> Place {
    let id = task.node_id.clone().filter(|id| !id.is_empty());
    let node = id.as_ref().and_then(|id| nodes.get(id));
    let container = status.container_status.as_ref();
    let container = container.and_then(|container| container.container_id.clone());
    let phase = match status.state {
        Some(TaskState::RUNNING) => Phase::Running,
        Some(
            TaskState::COMPLETE
            | TaskState::FAILED
            | TaskState::SHUTDOWN
            | TaskState::REJECTED
            | TaskState::ORPHANED
            | TaskState::REMOVE,
        ) => Phase::Over,
        _ => Phase::Starting,
    };
    let rejection = (status.state == Some(TaskState::REJECTED)).then(|| LogLine {
        ts: status.timestamp.clone(),
        stream: Some(LogStream::Stderr),
        line: progress(status),
    });
    Place {
        phase,
        task: task.id.clone(),
        node_name: node.map_or_else(|| id.clone().unwrap_or_default(), |node| node.name.clone()),
        // A node that was removed from the Swarm is heard of no more.
        is_down: id.is_some() && node.is_none_or(|node| node.is_down),
        node: id,
        container: container.filter(|container| !container.is_empty()),
        rejection,
    }
}

/// In the scheduler's or the node's own words.
fn progress(status: &TaskStatus) -> String {
    let texts = [&status.err, &status.message];
    let text = texts.into_iter().flatten().find(|text| !text.is_empty());
    text.cloned()
        .unwrap_or_else(|| "waiting for the scheduler".to_owned())
}

/// When a container ended.
fn finished(state: &ContainerState) -> Option<jiff::Timestamp> {
    state.finished_at.as_ref()?.parse().ok()
}
