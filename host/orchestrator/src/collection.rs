use std::sync::Arc;

use agentd_api::{Agent, AgentQuery, NewAgent, Page};
use agentd_host::session::Session;
use agentd_host::{Collection, Error, IdempotencyKey, Result};

use crate::agents::Agents;

/// Agents on a page when the request does not say.
const DEFAULT_LIMIT: u64 = 50;
/// Agents on a page at most.
const MAX_LIMIT: u64 = 200;

impl Collection for Agents {
    const PATH: &'static str = "agents";
    type Item = Agent;
    type Query = AgentQuery;

    async fn create(&self, new: NewAgent, key: Option<IdempotencyKey>) -> Result<Agent> {
        self.create(new, key).await
    }

    async fn list(&self, mut query: AgentQuery) -> Result<Page<Agent>> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(
                Error::invalid("invalid-query", format!("`limit` cannot be {limit}"))
                    .hint(format!("a page has 1 to {MAX_LIMIT} agents")),
            );
        }
        query.limit = Some(limit);
        self.list(query).await
    }

    async fn show(&self, id: &str) -> Result<Agent> {
        self.get(id).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.delete(id).await
    }

    async fn session(&self, id: &str) -> Result<Arc<Session>> {
        self.session(id).await
    }

    fn agents_active(&self) -> Option<u64> {
        Some(self.active())
    }
}
