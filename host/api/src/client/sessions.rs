use super::{Client, ClientError, Console};
use crate::{NewSession, Page, Session};

/// Sessions by name, as agentd-wrap has them.
impl Client {
    /// `GET /sessions`
    pub async fn sessions(&self) -> Result<Page<Session>, ClientError> {
        self.get(&["sessions"]).await
    }

    /// `GET /sessions/{name}`
    pub async fn session(&self, name: &str) -> Result<Session, ClientError> {
        self.get(&["sessions", name]).await
    }

    /// `POST /sessions`
    pub async fn create_session(&self, new: &NewSession) -> Result<Session, ClientError> {
        self.post(&["sessions"], new).await
    }

    /// `DELETE /sessions/{name}`
    pub async fn delete_session(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&["sessions", name]).await
    }

    /// Input, logs and terminal of a session.
    pub fn session_console(&self, name: &str) -> Console {
        Console::new(self, "sessions", name)
    }
}
