use reqwest::Method;

use super::{Cast, Client, ClientError, LogLines, Terminal};
use crate::terminal::TerminalQuery;
use crate::{Input, Keys, LogQuery, RecordingQuery, Screen, ScreenQuery};

/// What is the same for a session and for an agent: typing into it and seeing what it says.
#[derive(Clone, Debug)]
pub struct Console {
    client: Client,
    collection: &'static str,
    id: String,
}

impl Console {
    pub(super) fn new(client: &Client, collection: &'static str, id: &str) -> Console {
        Console {
            client: client.clone(),
            collection,
            id: id.to_owned(),
        }
    }

    /// The service's address.
    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// `POST …/input`
    pub async fn input(&self, input: &Input) -> Result<(), ClientError> {
        let request = self.request(Method::POST, "input").json(input);
        self.client.send(request).await?;
        Ok(())
    }

    /// `POST …/keys`
    pub async fn keys(&self, keys: &Keys) -> Result<(), ClientError> {
        let request = self.request(Method::POST, "keys").json(keys);
        self.client.send(request).await?;
        Ok(())
    }

    /// `GET …/logs`
    pub async fn logs(&self, query: &LogQuery) -> Result<LogLines, ClientError> {
        let request = self.request(Method::GET, "logs").query(query);
        let response = self.client.send(request).await?;
        Ok(LogLines::new(&self.client.address, response))
    }

    /// `GET …/screen`
    pub async fn screen(&self, query: &ScreenQuery) -> Result<Screen, ClientError> {
        let request = self.request(Method::GET, "screen").query(query);
        self.client.json(request).await
    }

    /// `GET …/recording`
    pub async fn recording(&self, query: &RecordingQuery) -> Result<Cast, ClientError> {
        let request = self.request(Method::GET, "recording").query(query);
        let response = self.client.send(request).await?;
        Ok(Cast::new(&self.client.address, response))
    }

    /// `GET …/terminal`, upgraded to a WebSocket. A refused upgrade is a [`ClientError::Problem`].
    pub async fn terminal(&self, query: &TerminalQuery) -> Result<Terminal, ClientError> {
        let request = self.request(Method::GET, "terminal").query(query);
        Terminal::open(&self.client, request).await
    }

    fn request(&self, method: Method, what: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, &[self.collection, &self.id, what])
    }
}
