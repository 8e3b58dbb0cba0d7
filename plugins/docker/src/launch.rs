use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{tokio, tracing};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::container::Plan;
use agentd_docker_engine::agent::{self, Agent, Failure, Stage};
use agentd_docker_engine::engine::status;
use agentd_docker_engine::labels::{INSTANCE, SESSION, SPEC_HASH};

/// Starts an agent whose image is there. Run it to its end: when `cancel` fires it stops after
/// the step at hand and removes what it made.
pub(crate) async fn now(
    shared: Arc<Shared>,
    agent: Arc<Agent>,
    plan: Plan,
    cancel: CancellationToken,
) -> Result<()> {
    match run(&shared, &agent, &plan, &cancel).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            agent.stage.send_replace(Stage::Failed(failure.clone()));
            Err(failure.error)
        }
    }
}

/// Pulls the image first, and reports a failure as the agent's end.
pub(crate) async fn later(
    shared: Arc<Shared>,
    agent: Arc<Agent>,
    plan: Plan,
    cancel: CancellationToken,
) {
    let progress = |percent| agent.starting(&format!("pulling image: {percent}%"));
    let pull = shared.pulls.pull(&shared.engine, &plan.image, progress);
    let pulled = tokio::select! {
        pulled = pull => pulled.map_err(|error| Failure::new("image-pull-failed", error)),
        () = cancel.cancelled() => Err(cancelled()),
    };
    let started = match pulled {
        Ok(()) => {
            agent.starting("starting container");
            run(&shared, &agent, &plan, &cancel).await
        }
        Err(failure) => Err(failure),
    };
    if let Err(failure) = started {
        tracing::warn!(session = %agent.id, reason = failure.reason, "{}", failure.error);
        let reason = Some(failure.reason.to_owned());
        agent.stage.send_replace(Stage::Failed(failure));
        agent.exited(ExitStatus {
            reason,
            ..ExitStatus::default()
        });
    }
}

/// Undoes a start whose caller is gone.
pub(crate) struct Undo(Option<(Arc<Shared>, Arc<Agent>, CancellationToken)>);

impl Undo {
    pub(crate) fn new(shared: Arc<Shared>, agent: Arc<Agent>, cancel: CancellationToken) -> Undo {
        Undo(Some((shared, agent, cancel)))
    }

    /// The caller has the session now.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some((shared, agent, cancel)) = self.0.take() else {
            return;
        };
        cancel.cancel();
        tokio::spawn(async move {
            let mut stage = agent.stage.subscribe();
            let settled = stage.wait_for(|stage| !matches!(stage, Stage::Preparing));
            // What failed has tidied up after itself.
            if matches!(settled.await.as_deref(), Ok(Stage::Made(_))) {
                shared.discard(&agent.id).await;
            }
        });
    }
}

/// Takes over the container of an earlier daemon.
pub(crate) async fn adopt(
    shared: &Shared,
    session: &str,
    container: String,
    events: SessionEvents,
) -> Result<Arc<Agent>> {
    let gone = || Error::gone(format!("the container of session `{session}` is gone"));
    let found = shared.engine.inspect(&container).await?.ok_or_else(gone)?;
    let tty = found.config.and_then(|config| config.tty).unwrap_or(false);
    let stage = Stage::Made(container.clone());
    let agent = Arc::new(Agent::new(session.to_owned(), tty, events, stage));
    shared.watch.add(&container, &agent);
    shared.settle(&agent, &container).await?;
    Ok(agent)
}

async fn run(
    shared: &Shared,
    agent: &Arc<Agent>,
    plan: &Plan,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    let container = match create(shared, plan).await {
        Ok(container) => container,
        Err(error) => {
            // Without an answer the engine may have made it all the same, or be about to.
            if !matches!(error.kind, ErrorKind::Refused | ErrorKind::Conflict) {
                shared.watch.remove_when_created(&agent.id);
                shared.discard(&agent.id).await;
            }
            return Err(Failure::new("create-failed", error));
        }
    };
    let begun = begin(shared, agent, plan, &container, cancel).await;
    if begun.is_err() {
        shared.watch.forget(&container);
        shared.discard(&agent.id).await;
    }
    begun
}

async fn begin(
    shared: &Shared,
    agent: &Arc<Agent>,
    plan: &Plan,
    container: &str,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    // Before the start: an agent may end at once.
    shared.watch.add(container, agent);
    let client = shared.engine.client();
    let started = client.start_container(container, None).await;
    started.map_err(|error| {
        let mut error = shared.engine.error("starting the container", error);
        // Such as a user that the image does not have; older engines take the blame themselves.
        if error.kind == ErrorKind::Internal {
            error.kind = ErrorKind::Refused;
        }
        Failure::new("start-failed", error)
    })?;
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    if plan.tty {
        // Only possible once it runs; an agent that has ended already needs it no more.
        let _ = shared.engine.resize(container, plan.size).await;
    }
    agent.stage.send_replace(Stage::Made(container.to_owned()));
    // The container runs: that it cannot be inspected just now is for the watch to report.
    if let Ok(Some(found)) = shared.engine.inspect(container).await
        && let Some(state) = found.state
    {
        agent.alive(container, &state);
    }
    Ok(())
}

/// Makes the container and returns its id.
async fn create(shared: &Shared, plan: &Plan) -> Result<String> {
    let options = CreateContainerOptionsBuilder::new()
        .name(&plan.name)
        .build();
    let client = shared.engine.client();
    let error = match client
        .create_container(Some(options), plan.body.clone())
        .await
    {
        Ok(created) => return Ok(created.id),
        Err(error) => error,
    };
    if status(&error) == Some(409)
        && let Some(found) = shared.engine.inspect(&plan.name).await?
    {
        return ours(shared, plan, found);
    }
    let hint = "check `options.image`, `options.user` and the mounts";
    let error = shared.engine.error("creating the container", error);
    Err(match error.kind {
        ErrorKind::Refused => error.hint(hint),
        _ => error,
    })
}

/// A container of that name exists: right only if an earlier attempt of this very start made it.
fn ours(shared: &Shared, plan: &Plan, found: ContainerInspectResponse) -> Result<String> {
    let labels = found
        .config
        .and_then(|config| config.labels)
        .unwrap_or_default();
    let has = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    let same = has(INSTANCE, &shared.instance)
        && has(SESSION, &plan.session)
        && has(SPEC_HASH, &plan.spec_hash);
    match found.id {
        Some(id) if same => Ok(id),
        _ => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "a container named `{}` exists already and is not this agent",
                plan.name
            ),
        )
        .hint(format!("look at it with `docker inspect {}`", plan.name))),
    }
}

fn cancelled() -> Failure {
    Failure::new(
        "cancelled",
        Error::new(ErrorKind::Gone, "the start was cancelled"),
    )
}

impl Shared {
    /// Reports what became of a container that was just taken over.
    pub(crate) async fn settle(&self, agent: &Agent, container: &str) -> Result<()> {
        match self
            .engine
            .inspect(container)
            .await?
            .and_then(|found| found.state)
        {
            Some(state) if agent::is_alive(&state) => agent.alive(container, &state),
            Some(state) if agent::is_new(&state) => agent.lost("the container was never started"),
            Some(state) => agent.exited(agent::end(&state)),
            None => agent.lost("the container was removed"),
        }
        Ok(())
    }
}
