use std::sync::Arc;

use agentd_api::{Agent, AgentQuery, NewAgent, Page, Reconciliation};
use agentd_host::session::{Run, Session};
use agentd_host::{Collection, IdempotencyKey, Result};

use crate::agents::Agents;
use crate::selection::Selection;

impl Collection for Agents {
    const PATH: &'static str = "agents";
    type Item = Agent;
    type Query = AgentQuery;

    async fn create(&self, new: NewAgent, key: Option<IdempotencyKey>) -> Result<Agent> {
        self.create(new, key).await
    }

    async fn list(&self, query: AgentQuery) -> Result<Page<Agent>> {
        self.list(Selection::parse(query)?).await
    }

    async fn show(&self, id: &str) -> Result<Agent> {
        self.get(id).await
    }

    async fn delete(&self, id: &str, force: bool) -> Result<()> {
        self.delete(id, force).await
    }

    async fn session(&self, id: &str) -> Result<Arc<Session>> {
        self.session(id).await
    }

    async fn run(&self, id: &str, name: Option<&str>) -> Result<Run> {
        self.run(id, name).await
    }

    fn agents_active(&self) -> Option<u64> {
        Some(self.active())
    }

    fn reconciliation(&self) -> Option<Reconciliation> {
        self.reconciliation()
    }
}
