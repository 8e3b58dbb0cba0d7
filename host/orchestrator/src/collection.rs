use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_api::{
    Agent, AgentQuery, AgentStatus, NewAgent, Page, Reconciliation, Scope, WebhookHealth,
};
use agentd_host::doors::Limit;
use agentd_host::http::{Need, Reach};
use agentd_host::session::{Run, Session};
use agentd_host::{AgentCounts, Collection, IdempotencyKey, Result};

use crate::agents::Agents;
use crate::records;
use crate::selection::Selection;

impl Collection for Agents {
    const PATH: &'static str = "agents";
    const NEEDS: &'static [Need] = &[
        // Labels may be what a token is limited to.
        Need::new("PATCH", "/agents/{id}", Scope::Admin, Reach::All),
        Need::new("POST", "/agents/{id}/stop", Scope::Admin, Reach::One),
        Need::new("POST", "/agents/{id}/restart", Scope::Admin, Reach::One),
        Need::new("GET", "/agents/{id}/sessions", Scope::Read, Reach::One),
        Need::new("GET", "/search", Scope::Read, Reach::Seen),
        Need::new("GET", "/agents/{id}/search", Scope::Read, Reach::One),
        // The agent says where its repository is: any of those that the service can read.
        Need::new("GET", "/agents/{id}/diff", Scope::Admin, Reach::All),
        Need::new("GET", "/events", Scope::Read, Reach::Seen),
        Need::new("GET", "/audit", Scope::Admin, Reach::All),
        Need::new("POST", "/tokens", Scope::Admin, Reach::All),
        Need::new("GET", "/tokens", Scope::Admin, Reach::All),
        Need::new("DELETE", "/tokens/{id}", Scope::Admin, Reach::All),
        Need::new("POST", "/agents/{id}/links", Scope::Admin, Reach::All),
        Need::new("GET", "/agents/{id}/links", Scope::Admin, Reach::All),
        Need::new(
            "DELETE",
            "/agents/{id}/links/{link}",
            Scope::Admin,
            Reach::All,
        ),
    ];
    type Item = Agent;
    type Query = AgentQuery;

    fn key(agent: &Agent) -> &str {
        &agent.id
    }

    async fn create(&self, new: NewAgent, key: Option<IdempotencyKey>) -> Result<Agent> {
        self.create(new, key).await
    }

    async fn list(&self, query: AgentQuery, limit: &Limit) -> Result<Page<Agent>> {
        self.list(Selection::parse(query)?.within(limit)).await
    }

    async fn is_within(&self, limit: &Limit, id: &str) -> Result<bool> {
        match limit {
            Limit::None => Ok(true),
            Limit::Agent(agent) => Ok(agent == id),
            Limit::Label(key, value) => {
                let (id, key, value) = (id.to_owned(), key.clone(), value.clone());
                self.store.has_label(id, key, value).await
            }
        }
    }

    async fn left(&self, limit: &Limit, id: &str) {
        let mut changes = self.events().subscribe();
        // The events outlive all who listen, so there is no error of that.
        while self.is_within(limit, id).await.unwrap_or(true) && changes.changed().await.is_ok() {}
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

    async fn recorded(&self, id: &str, name: Option<&str>) -> Result<(String, String)> {
        self.recorded_session(id, name).await
    }

    async fn count_agents(&self) -> Result<AgentCounts> {
        let counted = self.store.read(records::count).await?;
        let backends = self.sessions.backends();
        let names = backends.names().into_iter();
        let all = names
            .flat_map(|name| AgentStatus::ALL.map(|status| (name.to_owned(), status.as_str())));
        let mut counts: AgentCounts = all.map(|key| (key, 0)).collect();
        for (backend, status, count) in counted {
            let backend = backend.unwrap_or_else(|| backends.default().name().to_owned());
            let known = AgentStatus::ALL
                .into_iter()
                .find(|known| known.as_str() == status);
            if let Some(known) = known {
                *counts.entry((backend, known.as_str())).or_default() += count;
            }
        }
        Ok(counts)
    }

    fn agents_active(&self) -> Option<u64> {
        Some(self.active())
    }

    fn reconciliations(&self) -> BTreeMap<String, Reconciliation> {
        self.reconciliations.all()
    }

    fn webhook(&self) -> Option<WebhookHealth> {
        self.webhook().map(|webhook| webhook.health())
    }
}
