use reqwest::Method;

use super::{Client, ClientError, Console, Events};
use crate::{
    Agent, AgentPatch, AgentQuery, AuditEntry, AuditQuery, DeleteQuery, Diff, NewAgent, Page,
    PastSession, SearchPage, SearchQuery,
};

/// The most that one page of `GET /agents` holds.
const LARGEST_PAGE: u64 = 200;

/// Agents by id, as agentd-orchestrator has them.
impl Client {
    /// `GET /agents`
    pub async fn agents(&self, query: &AgentQuery) -> Result<Page<Agent>, ClientError> {
        self.json(self.request(Method::GET, &["agents"]).query(query))
            .await
    }

    /// All agents that `query` asks for, page after page.
    pub async fn all_agents(&self, query: &AgentQuery) -> Result<Vec<Agent>, ClientError> {
        let mut query = AgentQuery {
            limit: Some(LARGEST_PAGE),
            ..query.clone()
        };
        let mut agents = Vec::new();
        loop {
            let page = self.agents(&query).await?;
            agents.extend(page.items);
            if page.next_cursor.is_none() {
                return Ok(agents);
            }
            query.cursor = page.next_cursor;
            query.offset = None;
        }
    }

    /// The agent of exactly this name.
    pub async fn agent_named(&self, name: &str) -> Result<Option<Agent>, ClientError> {
        let query = AgentQuery {
            name: Some(name.to_owned()),
            ..AgentQuery::default()
        };
        let page = self.agents(&query).await?;
        Ok(page.items.into_iter().find(|agent| agent.name == name))
    }

    /// `GET /agents/{id}`
    pub async fn agent(&self, id: &str) -> Result<Agent, ClientError> {
        self.get(&["agents", id]).await
    }

    /// `POST /agents`
    pub async fn create_agent(&self, new: &NewAgent) -> Result<Agent, ClientError> {
        self.post(&["agents"], new).await
    }

    /// `PATCH /agents/{id}`
    pub async fn patch_agent(&self, id: &str, patch: &AgentPatch) -> Result<Agent, ClientError> {
        let request = self.request(Method::PATCH, &["agents", id]);
        self.json(request.json(patch)).await
    }

    /// `DELETE /agents/{id}`
    pub async fn delete_agent(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&["agents", id]).await
    }

    /// `DELETE /agents/{id}?force=true`
    pub async fn delete_agent_by_force(&self, id: &str) -> Result<(), ClientError> {
        let delete = self.request(Method::DELETE, &["agents", id]);
        self.send(delete.query(&DeleteQuery { force: true }))
            .await?;
        Ok(())
    }

    /// `POST /agents/{id}/stop`
    pub async fn stop_agent(&self, id: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::POST, &["agents", id, "stop"]))
            .await?;
        Ok(())
    }

    /// `POST /agents/{id}/restart`
    pub async fn restart_agent(&self, id: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::POST, &["agents", id, "restart"]))
            .await?;
        Ok(())
    }

    /// `GET /agents/{id}/sessions`
    pub async fn past_sessions(&self, id: &str) -> Result<Page<PastSession>, ClientError> {
        self.get(&["agents", id, "sessions"]).await
    }

    /// `GET /agents/{id}/diff`
    pub async fn diff(&self, id: &str) -> Result<Diff, ClientError> {
        self.get(&["agents", id, "diff"]).await
    }

    /// `GET /search`, or `GET /agents/{id}/search`
    pub async fn search(
        &self,
        agent: Option<&str>,
        query: &SearchQuery,
    ) -> Result<SearchPage, ClientError> {
        let request = match agent {
            Some(id) => self.request(Method::GET, &["agents", id, "search"]),
            None => self.request(Method::GET, &["search"]),
        };
        self.json(request.query(query)).await
    }

    /// `GET /audit`
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, ClientError> {
        self.json(self.request(Method::GET, &["audit"]).query(query))
            .await
    }

    /// Input, logs and terminal of an agent.
    pub fn agent_console(&self, id: &str) -> Console {
        Console::new(self, "agents", id)
    }

    /// `GET /events`, from now on or after the event with the id `last`.
    pub async fn events(&self, last: Option<&str>) -> Result<Events, ClientError> {
        Events::open(self, last).await
    }
}
