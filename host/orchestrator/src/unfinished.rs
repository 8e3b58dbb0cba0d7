//! Starts that are undone when their clients leave.

use std::sync::Arc;

use agentd_host::session::Session;
use tokio::runtime::Handle;

use crate::agents::Agents;
use crate::busy::Doing;

/// An agent that is forgotten again unless its first start succeeds.
pub struct Unfinished<'a> {
    /// All of them.
    pub agents: &'a Agents,
    /// The agent's.
    pub id: &'a str,
    /// False once it is known that it is not.
    pub may_be_recorded: bool,
    /// None once it is over.
    pub doing: Option<Doing>,
}

impl Unfinished<'_> {
    /// It has succeeded, or nothing is left of it.
    pub fn over(mut self) {
        self.doing = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(doing) = self.doing.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let (agents, id) = (self.agents.clone(), self.id.to_owned());
            let may_be_recorded = self.may_be_recorded;
            runtime.spawn(async move {
                match may_be_recorded {
                    true => agents.give_up(&id).await,
                    false => drop(agents.let_go(&id).await),
                }
                drop(doing);
            });
        }
    }
}

/// A session that leaves its agent failed unless its start succeeds.
pub struct Unstarted<'a> {
    /// All of them.
    pub agents: &'a Agents,
    /// The agent's.
    pub id: &'a str,
    /// The one that is started.
    pub session: &'a Arc<Session>,
    /// None once it is over.
    pub doing: Option<Doing>,
}

impl Unstarted<'_> {
    /// It has succeeded, or nothing is left of it.
    pub fn over(mut self) {
        self.doing = None;
    }
}

impl Drop for Unstarted<'_> {
    fn drop(&mut self) {
        if let Some(doing) = self.doing.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let (agents, id) = (self.agents.clone(), self.id.to_owned());
            let session = self.session.clone();
            runtime.spawn(async move {
                session.forgotten().await;
                let failed = agents
                    .store
                    .write(move |transaction| transaction.fail(&id, &session.id));
                if let Err(error) = failed.await {
                    tracing::warn!(%error, "a start that was given up");
                }
                drop(doing);
            });
        }
    }
}
