//! `agentd-wrap`: sessions by name.

use std::sync::Arc;

use agentd_api::{NewSession, Page};
use agentd_host::session::{Session, Sessions, Unobserved};
use agentd_host::{
    Collection, Error, IdempotencyKey, Prepared, Result, Server, Service, StartError, http,
};
use serde::Deserialize;

/// What distinguishes this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-wrap",
    about: "Runs AI coding agents in sessions and lets people and programs watch and steer them",
    default_port: 17005,
};

/// The service, with the sessions that outlived an earlier one.
pub async fn server(prepared: Prepared) -> Result<Server, StartError> {
    let sessions = prepared.sessions(Arc::new(Unobserved));
    sessions.adopt_all().await?;
    let collection = Arc::new(ByName(sessions.clone()));
    Ok(prepared.server(sessions, |daemon| {
        http::service(daemon, &collection, http::nothing(), http::nothing())
    }))
}

struct ByName(Sessions);

/// Nothing; a list has all sessions.
#[derive(Deserialize)]
struct NoFilter {}

impl Collection for ByName {
    const PATH: &'static str = "sessions";
    type Item = agentd_api::Session;
    type Query = NoFilter;

    /// A key is not needed: a repetition finds that the name is taken.
    async fn create(&self, new: NewSession, _: Option<IdempotencyKey>) -> Result<Self::Item> {
        if !new.labels.is_empty() {
            return Err(Error::invalid("invalid-labels", "sessions have no labels")
                .hint("agents have them, which agentd-orchestrator runs"));
        }
        if new.restart.is_some() || new.max_restarts.is_some() {
            let message = "sessions are not started again";
            return Err(Error::invalid("invalid-restart", message)
                .hint("agents are, which agentd-orchestrator runs"));
        }
        Ok(self.0.create(new, None).await?.describe())
    }

    async fn list(&self, NoFilter {}: NoFilter) -> Result<Page<Self::Item>> {
        let sessions = self.0.list();
        let items: Vec<_> = sessions.iter().map(|session| session.describe()).collect();
        let total = items.len() as u64;
        Ok(Page {
            items,
            total,
            next_cursor: None,
        })
    }

    async fn show(&self, name: &str) -> Result<Self::Item> {
        Ok(self.0.get(name)?.describe())
    }

    async fn delete(&self, name: &str, force: bool) -> Result<()> {
        if force {
            let message = "sessions are not deleted by force";
            return Err(Error::invalid("invalid-query", message)
                .hint("agents are, which agentd-orchestrator runs"));
        }
        let session = self.0.get(name)?;
        self.0.delete(&session).await
    }

    async fn session(&self, name: &str) -> Result<Arc<Session>> {
        self.0.get(name)
    }
}
