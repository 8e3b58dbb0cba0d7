use reqwest::Method;

use super::{Client, ClientError, Console, Events};
use crate::{Agent, AgentQuery, NewAgent, Page};

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
        let mut agents = Vec::new();
        loop {
            let page = self
                .agents(&AgentQuery {
                    limit: Some(LARGEST_PAGE),
                    offset: Some(agents.len() as u64),
                    ..query.clone()
                })
                .await?;
            let last = page.items.is_empty();
            agents.extend(page.items);
            if last || agents.len() as u64 >= page.total {
                return Ok(agents);
            }
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

    /// `DELETE /agents/{id}`
    pub async fn delete_agent(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&["agents", id]).await
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

    /// Input, logs and terminal of an agent.
    pub fn agent_console(&self, id: &str) -> Console {
        Console::new(self, "agents", id)
    }

    /// `GET /events`, from now on or after the event with the id `last`.
    pub async fn events(&self, last: Option<&str>) -> Result<Events, ClientError> {
        Events::open(self, last).await
    }
}
