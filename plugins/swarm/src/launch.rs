use std::sync::Arc;

use agentd_docker_engine::agent::{Failure, Stage};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;
use bollard::models::Service;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::member::Member;
use crate::service::{Plan, attached_to, container_of};

/// How long a manager that has not answered may still make what it was asked for.
const LATE: Duration = Duration::from_secs(60);

/// Makes the service of an agent. Run it to its end: when `cancel` fires it stops after the step at
/// hand and removes what it made.
pub(crate) async fn now(
    shared: Arc<Shared>,
    member: Arc<Member>,
    plan: Plan,
    cancel: CancellationToken,
) -> Result<()> {
    let session = plan.session.clone();
    match make(&shared, &member, plan, &cancel).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // Without an answer the manager may have made it all the same, or be about to.
            if !matches!(error.kind, ErrorKind::Refused | ErrorKind::Conflict) {
                shared.watch.remove_later(&session, LATE);
            }
            shared.discard(&session).await;
            let failure = Failure::new("create-failed", error.clone());
            member.agent.stage.send_replace(Stage::Failed(failure));
            Err(error)
        }
    }
}

async fn make(
    shared: &Shared,
    member: &Arc<Member>,
    plan: Plan,
    cancel: &CancellationToken,
) -> Result<()> {
    let go_on = || match cancel.is_cancelled() {
        true => Err(Error::new(ErrorKind::Conflict, "the start was cancelled")),
        false => Ok(()),
    };
    go_on()?;
    let mut spec = plan.spec.clone();
    if plan.is_isolated {
        let network = shared.make_network(&plan).await?;
        if let Some(task) = &mut spec.task_template {
            task.networks = Some(vec![attached_to(&network)]);
        }
        go_on()?;
    }
    let mut secrets = Vec::new();
    for (at, secret) in plan.secrets.iter().enumerate() {
        secrets.push(shared.make_secret(&plan, at, secret).await?);
        go_on()?;
    }
    if let Some(container) = container_of(&mut spec) {
        container.secrets = Some(secrets);
    }
    let created = shared.engine.client().create_service(spec, None).await;
    let created = created.map_err(|error| {
        let error = shared.error("creating the service", error);
        match error.kind {
            ErrorKind::Refused => error.hint("check `options.image`, `options.constraints`"),
            _ => error,
        }
    })?;
    let service = created
        .id
        .ok_or_else(|| Error::internal("the manager does not say which service it made"))?;
    go_on()?;
    // Only then: nothing is reported of what is refused.
    member.starting("waiting for the scheduler");
    shared.watch.add(&service, member);
    // Last: whoever undoes the start waits for it.
    member.agent.stage.send_replace(Stage::Made(service));
    Ok(())
}

/// Takes over the service of an earlier daemon.
pub(crate) async fn adopt(
    shared: &Shared,
    session: String,
    service: Service,
    events: SessionEvents,
) -> Result<Arc<Member>> {
    let gone = || Error::gone(format!("the service of session `{session}` is gone"));
    let id = service.id.ok_or_else(gone)?;
    let container = service
        .spec
        .and_then(|spec| spec.task_template?.container_spec);
    let tty = container.and_then(|container| container.tty);
    let member = Member::new(session.clone(), tty.unwrap_or(false), None, events);
    let member = Arc::new(member);
    member.agent.stage.send_replace(Stage::Made(id.clone()));
    shared.watch.add(&id, &member);
    if let Err(error) = shared.look_at(&id, &member).await {
        shared.watch.forget(&id);
        return Err(error);
    }
    Ok(member)
}

/// Undoes a start whose caller is gone.
pub(crate) struct Undo(Option<(Arc<Shared>, Arc<Member>, CancellationToken)>);

impl Undo {
    pub(crate) fn new(shared: Arc<Shared>, member: Arc<Member>, cancel: CancellationToken) -> Undo {
        Undo(Some((shared, member, cancel)))
    }

    /// The caller has the session now.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some((shared, member, cancel)) = self.0.take() else {
            return;
        };
        cancel.cancel();
        tokio::spawn(async move {
            let mut stage = member.agent.stage.subscribe();
            let settled = stage.wait_for(|stage| !matches!(stage, Stage::Preparing));
            // What failed has tidied up after itself.
            if matches!(settled.await.as_deref(), Ok(Stage::Made(_))) {
                shared.discard(&member.agent.id).await;
            }
        });
    }
}
