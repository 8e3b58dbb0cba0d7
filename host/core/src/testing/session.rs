use agentd_api::{Exit, Session, State};
use serde_json::{Value, json};

use super::{Answer, TestCast, TestClient, TestTerminal, eventually};

/// A session of `agentd-wrap`, or an agent with its newest session.
#[derive(Clone, Debug)]
pub struct TestSession {
    client: TestClient,
    /// Such as `/sessions/demo`.
    pub path: String,
}

impl TestSession {
    pub(super) fn new(client: &TestClient, key: &str) -> Self {
        TestSession {
            client: client.clone(),
            path: format!("{}/{key}", client.collection),
        }
    }

    /// The session as the service shows it.
    pub async fn show(&self) -> Session {
        let shown: Value = self.client.get(&self.path).await.expect(200).json();
        let session = shown.get("session").unwrap_or(&shown).clone();
        serde_json::from_value(session).unwrap()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Exit {
        self.until("the session's end", |session| {
            session.state == State::Exited
        })
        .await
        .exit
        .unwrap()
    }

    /// Waits until it is shown as `condition` wants it.
    pub async fn until(&self, what: &str, condition: impl Fn(&Session) -> bool) -> Session {
        eventually(what, async || Some(self.show().await).filter(&condition)).await
    }

    /// Types a prompt and Enter.
    pub async fn prompt(&self, text: &str) -> Answer {
        let path = format!("{}/input", self.path);
        self.client.post(&path, &json!({"text": text})).await
    }

    /// The lines of its log; `query` such as `?tail=1`.
    pub async fn logs(&self, query: &str) -> Vec<String> {
        let path = format!("{}/logs{query}", self.path);
        let answer = self.client.get(&path).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let text = |line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["line"].as_str().unwrap().to_owned()
        };
        answer.body.lines().map(text).collect()
    }

    /// Its recording so far; `query` such as `?session=previous`.
    pub async fn recording(&self, query: &str) -> TestCast {
        let path = format!("{}/recording{query}", self.path);
        let answer = self.client.get(&path).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/x-asciicast");
        TestCast::parse(&answer.body)
    }

    /// The lines that its screen shows.
    pub async fn screen(&self) -> Vec<String> {
        let path = format!("{}/screen", self.path);
        let screen: agentd_api::Screen = self.client.get(&path).await.expect(200).parse();
        let lines = screen.text.lines().map(|line| line.trim_end().to_owned());
        lines.collect()
    }

    /// Opens its terminal; `query` such as `?mode=ro`.
    pub async fn terminal(&self, query: &str) -> TestTerminal {
        let path = format!("{}/terminal{query}", self.path);
        let bearer = self.client.bearer();
        let headers = [("authorization", bearer.as_str())];
        self.client.terminal(&path, &headers).await.unwrap()
    }

    /// Everything that it has printed, byte for byte, once it has ended.
    pub async fn output(&self) -> Vec<u8> {
        let epoch = self.terminal("?mode=ro").await.hello().await.epoch;
        let mut terminal = self
            .terminal(&format!("?mode=ro&seq=0&epoch={epoch}"))
            .await;
        assert_eq!(terminal.closed().await, 4000);
        assert_eq!(terminal.hello().await.seq, 0);
        terminal.output.clone()
    }

    /// Ends and forgets it.
    pub async fn delete(&self) {
        self.client.delete(&self.path).await.expect(204);
    }
}
