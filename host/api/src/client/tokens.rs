use super::{Client, ClientError};
use crate::{CreatedLink, CreatedToken, Link, NewLink, NewToken, Page, Token, Whoami};

/// Tokens with a scope and links, as agentd-orchestrator has them.
impl Client {
    /// `GET /whoami`
    pub async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.get(&["whoami"]).await
    }

    /// `POST /tokens`
    pub async fn create_token(&self, new: &NewToken) -> Result<CreatedToken, ClientError> {
        self.post(&["tokens"], new).await
    }

    /// `GET /tokens`
    pub async fn tokens(&self) -> Result<Page<Token>, ClientError> {
        self.get(&["tokens"]).await
    }

    /// `DELETE /tokens/{id}`
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&["tokens", id]).await
    }

    /// `POST /agents/{id}/links`
    pub async fn create_link(
        &self,
        agent: &str,
        new: &NewLink,
    ) -> Result<CreatedLink, ClientError> {
        self.post(&["agents", agent, "links"], new).await
    }

    /// `GET /agents/{id}/links`
    pub async fn links(&self, agent: &str) -> Result<Page<Link>, ClientError> {
        self.get(&["agents", agent, "links"]).await
    }

    /// `DELETE /agents/{id}/links/{link}`
    pub async fn revoke_link(&self, agent: &str, link: &str) -> Result<(), ClientError> {
        self.delete(&["agents", agent, "links", link]).await
    }
}
