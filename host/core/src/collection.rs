use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_api::{NewSession, Page, Reconciliation, WebhookHealth};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::doors::Limit;
use crate::http::Need;
use crate::session::{Run, Session};
use crate::{Error, IdempotencyKey, Result};

/// How many agents there are, by the name of a backend and the word for a status.
pub type AgentCounts = BTreeMap<(String, &'static str), u64>;

/// What a service keeps under one path, such as sessions by name or agents by id.
pub trait Collection: Send + Sync + 'static {
    /// The first segment of its paths, such as `sessions`.
    const PATH: &'static str;
    /// What its routes need beside those that every collection has.
    const NEEDS: &'static [Need] = &[];
    /// One entry, as clients see it.
    type Item: Serialize + Send;
    /// What a list can be filtered by.
    type Query: DeserializeOwned + Send;

    /// What names it in a path.
    fn key(item: &Self::Item) -> &str;
    /// Starts a new one. A request with a key may be a repetition.
    fn create(
        &self,
        new: NewSession,
        key: Option<IdempotencyKey>,
    ) -> impl Future<Output = Result<Self::Item>> + Send;
    /// Those that the query asks for and the limit leaves, and how many there are without the query's
    /// bounds.
    fn list(
        &self,
        query: Self::Query,
        limit: &Limit,
    ) -> impl Future<Output = Result<Page<Self::Item>>> + Send;
    /// Whether the limit leaves this one, which is not [`Limit::None`].
    fn is_within(&self, _limit: &Limit, _id: &str) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
    }
    /// Done when the limit, which left this one, no longer does.
    fn left(&self, _limit: &Limit, _id: &str) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
    /// The one that the second segment of a path names.
    fn show(&self, id: &str) -> impl Future<Output = Result<Self::Item>> + Send;
    /// Ends and forgets it; with `force`, where a service has that, also if it cannot be ended now.
    fn delete(&self, id: &str, force: bool) -> impl Future<Output = Result<()>> + Send;
    /// Its session, or its newest one.
    fn session(&self, id: &str) -> impl Future<Output = Result<Arc<Session>>> + Send;
    /// A run of it: the newest one, or the one that a client names, if those of before are kept.
    fn run(&self, id: &str, name: Option<&str>) -> impl Future<Output = Result<Run>> + Send {
        async move {
            let session = self.session(id).await?;
            match name {
                None => Ok(Run::Here(session)),
                Some(name) => Err(Error::not_found("session", name)),
            }
        }
    }
    /// Where its recording is, and of which session: the newest one, or the one that a client names, if
    /// those of before are kept.
    fn recorded(
        &self,
        id: &str,
        name: Option<&str>,
    ) -> impl Future<Output = Result<(String, String)>> + Send {
        async move {
            let session = self.session(id).await?;
            match name {
                None => Ok((session.recording_key(), session.id.clone())),
                Some(name) => Err(Error::not_found("session", name)),
            }
        }
    }
    /// For `GET /health`, where the service counts agents.
    fn agents_active(&self) -> Option<u64> {
        None
    }
    /// For `GET /metrics`, where the service counts agents.
    fn count_agents(&self) -> impl Future<Output = Result<AgentCounts>> + Send {
        async { Ok(AgentCounts::new()) }
    }
    /// For `GET /health?verbose=1`, where the service reconciles: by the names of its backends.
    fn reconciliations(&self) -> BTreeMap<String, Reconciliation> {
        BTreeMap::new()
    }
    /// For `GET /health?verbose=1`, where the service sends what happens to an address.
    fn webhook(&self) -> Option<WebhookHealth> {
        None
    }
}
