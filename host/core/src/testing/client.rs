use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use warp::http::{HeaderName, HeaderValue, Method};

use super::certificate::no_trust;
use super::{Answer, Certificate, TestSession, TestTerminal};

/// One who talks to a service. It shows the token unless a request says otherwise.
#[derive(Clone, Debug)]
pub struct TestClient {
    /// Where the service listens.
    pub address: SocketAddr,
    /// What opens its doors.
    pub token: String,
    /// `/sessions` or `/agents`.
    pub collection: &'static str,
    work_dir: PathBuf,
    http: reqwest::Client,
    /// For a service that speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl TestClient {
    pub(super) fn new(
        address: SocketAddr,
        token: String,
        collection: &'static str,
        work_dir: PathBuf,
    ) -> Self {
        TestClient {
            address,
            token,
            collection,
            work_dir,
            http: http(&no_trust()),
            tls: None,
        }
    }

    /// The same of a service that speaks TLS, which has to have that certificate.
    #[must_use]
    pub fn trusting(&self, certificate: &Certificate) -> Self {
        let tls = certificate.trust();
        TestClient {
            http: http(&tls),
            tls: Some(tls),
            ..self.clone()
        }
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A directory for agents to work in.
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// A GET.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// A POST of a JSON body.
    pub fn post(&self, path: &str, body: &impl Serialize) -> TestRequest {
        self.request(Method::POST, path).json(body)
    }

    /// A PATCH of a JSON body.
    pub fn patch(&self, path: &str, body: &impl Serialize) -> TestRequest {
        self.request(Method::PATCH, path).json(body)
    }

    /// Any request.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", self.address);
        TestRequest {
            request: self.http.request(method, url),
            token: Some(self.token.clone()),
        }
    }

    /// Sends these very bytes and gives the answer's, up to the end of the connection.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Whether the service holds its end of the connection from this address: the kernel's table has an
    /// inode only for a socket that a process has open. See proc_net(5).
    pub fn holds_connection(&self, client: SocketAddr) -> bool {
        let local = format!(":{:04X}", self.address.port());
        let remote = format!(":{:04X}", client.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[1].ends_with(&local) && fields[2].ends_with(&remote) && fields[9] != "0"
        })
    }

    /// The body that starts `command` in the working directory.
    pub fn new_session(&self, name: &str, command: &[&str]) -> Value {
        json!({"name": name, "working_dir": self.work_dir, "command": command})
    }

    /// Asks for a session or an agent.
    pub async fn create(&self, body: &Value) -> Answer {
        self.post(self.collection, body).await
    }

    /// Starts a program.
    pub async fn start(&self, name: &str, command: &[&str]) -> TestSession {
        self.start_with(&self.new_session(name, command)).await
    }

    /// Starts a shell script.
    pub async fn script(&self, name: &str, script: &str) -> TestSession {
        self.start(name, &["/bin/sh", "-c", script]).await
    }

    /// Is a user like any other, who starts an agent, types something and is shown it.
    pub async fn use_normally(&self) -> (TestSession, TestTerminal) {
        let session = self.script("demo", "cat").await;
        let mut terminal = session.terminal("").await;
        terminal.hello().await;
        terminal.type_keys("hello\r").await;
        terminal.shows("hello").await;
        (session, terminal)
    }

    /// Starts what the body asks for.
    pub async fn start_with(&self, body: &Value) -> TestSession {
        let created = self.create(body).await.expect(201).json();
        let key = created.get("id").unwrap_or(&created["name"]);
        TestSession::new(self, key.as_str().unwrap())
    }

    /// The session of that name, or the agent of that id.
    pub fn session(&self, key: &str) -> TestSession {
        TestSession::new(self, key)
    }

    /// Opens the terminal at `path`; the status of a refusal.
    pub async fn terminal(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<TestTerminal, u16> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .insert(name, HeaderValue::from_str(value).unwrap());
        }
        TestTerminal::open(self.address, request, self.tls.clone()).await
    }

    /// The header with the token.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

fn http(tls: &ClientConfig) -> reqwest::Client {
    // What a service holds open is soon its own doing.
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .no_proxy()
        .pool_idle_timeout(Duration::from_secs(1))
        .build()
        .unwrap()
}

/// A request that is sent when it is awaited.
#[derive(Debug)]
#[must_use]
pub struct TestRequest {
    request: reqwest::RequestBuilder,
    token: Option<String>,
}

impl TestRequest {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Sets a body of any kind.
    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// Shows another token.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Shows no token.
    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    /// Asks for a WebSocket.
    pub fn upgrade(self) -> Self {
        self.header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// The answer; none when the service died before it was all there.
    pub async fn unless_cut(self) -> Option<Answer> {
        let response = self.sent().await.ok()?;
        Answer::read(response).await.ok()
    }

    /// The answer while its body is still coming.
    pub async fn stream(self) -> reqwest::Response {
        self.sent().await.unwrap()
    }

    async fn sent(self) -> reqwest::Result<reqwest::Response> {
        let request = match self.token {
            Some(token) => self.request.bearer_auth(token),
            None => self.request,
        };
        request.send().await
    }
}

impl IntoFuture for TestRequest {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.stream().await;
            Answer::read(response).await.unwrap()
        })
    }
}
