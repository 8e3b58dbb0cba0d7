use std::collections::BTreeMap;
use std::time::Duration;

use agentd_api::client::Events;
use agentd_api::{Agent, AgentQuery, Change, ClientError};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::failure::Failure;

/// How long to wait before asking a service again that has gone away.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The changes of all agents, beyond a break of the connection and a restart of the service.
pub(super) struct Following<'a> {
    connection: &'a Connection,
    events: Events,
    is_lost: bool,
}

/// What is next.
pub(super) enum News {
    /// After a gap, what there is has to be read anew.
    Change(Box<Change>),
    /// The connection is lost, and made again from now on.
    Lost,
    /// The connection is there again, and what there is has to be read anew.
    Again,
}

impl<'a> Following<'a> {
    /// From now on. Whatever is read after this and then kept up to date misses nothing.
    pub(super) async fn open(connection: &'a Connection) -> Result<Following<'a>, Failure> {
        let events = connection.client.events(None).await;
        Ok(Following {
            connection,
            events: events.map_err(|error| connection.explain(error))?,
            is_lost: false,
        })
    }

    /// What is next. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Result<News, Failure> {
        if self.is_lost {
            self.reconnect().await?;
            return Ok(News::Again);
        }
        match self.events.next().await {
            Ok(Some(change)) => Ok(News::Change(Box::new(change))),
            Ok(None) | Err(ClientError::Lost { .. }) => {
                self.is_lost = true;
                Ok(News::Lost)
            }
            Err(error) => Err(self.connection.explain(error)),
        }
    }

    async fn reconnect(&mut self) -> Result<(), Failure> {
        let last = self.events.last_id().map(str::to_owned);
        loop {
            sleep(RETRY).await;
            match self.connection.client.events(last.as_deref()).await {
                Ok(events) => {
                    self.events = events;
                    self.is_lost = false;
                    return Ok(());
                }
                Err(error) if is_away(&error) => {}
                Err(error) => return Err(self.connection.explain(error)),
            }
        }
    }
}

/// Brings the agents that the query selects up to date, by id.
pub(super) fn apply(agents: &mut BTreeMap<String, Agent>, query: &AgentQuery, change: Change) {
    match change {
        Change::Activity { id, activity, .. } => {
            let session = agents.get_mut(&id).and_then(|agent| agent.session.as_mut());
            if let Some(session) = session {
                session.activity = Some(activity);
            }
        }
        Change::Deleted { id, .. } => {
            agents.remove(&id);
        }
        change => {
            let Some(agent) = change.into_agent() else {
                return;
            };
            match query.selects(&agent) {
                true => agents.insert(agent.id.clone(), agent),
                false => agents.remove(&agent.id),
            };
        }
    }
}

/// Whether a service that is started again may be the reason.
pub(super) fn is_away(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::Lost { .. }
    ) || error.status() == Some(503)
}
