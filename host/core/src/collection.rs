use std::sync::Arc;

use agentd_api::{NewSession, Page, Reconciliation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::session::{Run, Session};
use crate::{Error, IdempotencyKey, Result};

/// What a service keeps under one path, such as sessions by name or agents by id.
pub trait Collection: Send + Sync + 'static {
    /// The first segment of its paths, such as `sessions`.
    const PATH: &'static str;
    /// One entry, as clients see it.
    type Item: Serialize + Send;
    /// What a list can be filtered by.
    type Query: DeserializeOwned + Send;

    /// Starts a new one. A request with a key may be a repetition.
    fn create(
        &self,
        new: NewSession,
        key: Option<IdempotencyKey>,
    ) -> impl Future<Output = Result<Self::Item>> + Send;
    /// Those that the query asks for, and how many there are without its limits.
    fn list(&self, query: Self::Query) -> impl Future<Output = Result<Page<Self::Item>>> + Send;
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
    /// For `GET /health`, where the service counts agents.
    fn agents_active(&self) -> Option<u64> {
        None
    }
    /// For `GET /health?verbose=1`, where the service reconciles.
    fn reconciliation(&self) -> Option<Reconciliation> {
        None
    }
}
