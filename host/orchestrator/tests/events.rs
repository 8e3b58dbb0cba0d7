use agentd_host::testing::{DEADLINE, TestClient};
use serde_json::Value;
use tokio::time::timeout;
use warp::http::Method;

use crate::orchestrator;

/// A listener to `GET /events`.
pub struct Listener {
    response: reqwest::Response,
    text: String,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

impl Listener {
    pub async fn new(client: &TestClient, last: Option<u64>) -> Self {
        let mut request = client.get("/events");
        if let Some(last) = last {
            request = request.header("last-event-id", &last.to_string());
        }
        let response = request.stream().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Listener {
            response,
            text: String::new(),
        }
    }

    /// Reads until an event of that kind, and gives all up to it.
    pub async fn until(&mut self, kind: &str) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (parse(event), rest.to_owned());
                self.text = rest;
                events.extend(event);
                if events.last().is_some_and(|event| event.kind == kind) {
                    return events;
                }
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await;
            let chunk = chunk.unwrap_or_else(|_| panic!("in vain: {kind}: {events:?}"));
            let chunk = chunk.unwrap().expect("the stream goes on");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

/// None for a comment.
fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.trim_start())
    };
    Some(Event {
        id: field("id")?.parse().unwrap(),
        kind: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn a_life_is_told_as_it_happens() {
    let server = orchestrator("pty");
    let mut listener = Listener::new(&server, None).await;
    let agent = server.script("demo", "read line; exit 7").await;
    let events = listener.until("started").await;
    assert_eq!(kinds(&events), ["created", "started"]);
    assert_eq!(events[0].data["agent"]["status"], "pending");
    assert_eq!(events[1].data["agent"]["status"], "running");
    assert_eq!(events[1].data["agent"]["name"], "demo");
    agent.prompt("").await.expect(202);
    let events = listener.until("exited").await;
    assert_eq!(kinds(&events), ["exited"]);
    assert_eq!(events[0].data["agent"]["status"], "failed");
    assert_eq!(events[0].data["agent"]["session"]["exit"]["code"], 7);
    agent.delete().await;
    let events = listener.until("deleted").await;
    let id = agent.path.strip_prefix("/agents/").unwrap();
    assert_eq!(
        events.last().unwrap().data,
        serde_json::json!({"id": id, "name": "demo"})
    );
}

#[tokio::test]
async fn a_restart_is_told() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let mut listener = Listener::new(&server, None).await;
    let restart = format!("{}/restart", agent.path);
    server.request(Method::POST, &restart).await.expect(200);
    let events = listener.until("restarted").await;
    assert_eq!(events.last().unwrap().data["agent"]["restarts"], 1);
    assert_eq!(events.last().unwrap().data["agent"]["status"], "running");
}

#[tokio::test]
async fn a_listener_resumes_after_the_last_event_that_it_saw() {
    let server = orchestrator("fixture");
    let mut listener = Listener::new(&server, None).await;
    let first = server.start("first", &["run"]).await;
    let seen = listener.until("started").await;
    drop(listener);
    server.start("second", &["run"]).await;
    first.delete().await;
    let last = seen.last().unwrap().id;
    let missed = Listener::new(&server, Some(last))
        .await
        .until("deleted")
        .await;
    let names = |event: &Event| {
        let name = event
            .data
            .pointer("/agent/name")
            .unwrap_or(&event.data["name"]);
        format!("{} {}", event.kind, name.as_str().unwrap())
    };
    let missed_names: Vec<String> = missed.iter().map(names).collect();
    let expected = [
        "created second",
        "started second",
        "exited first",
        "deleted first",
    ];
    assert_eq!(missed_names, expected);
    let ids: Vec<u64> = seen.iter().chain(&missed).map(|event| event.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // Every listener is told the same.
    let again = Listener::new(&server, Some(last))
        .await
        .until("deleted")
        .await;
    assert_eq!(again, missed);
}

#[tokio::test]
async fn a_start_that_fails_is_told_as_gone() {
    let server = orchestrator("fixture");
    let mut listener = Listener::new(&server, None).await;
    let answer = server
        .create(&server.new_session("demo", &["refuse"]))
        .await;
    answer.problem(422, "refused");
    let events = listener.until("deleted").await;
    assert_eq!(events[0].kind, "created");
    assert_eq!(events.last().unwrap().data["name"], "demo");
}

#[tokio::test]
async fn secrets_are_never_told() {
    let server = orchestrator("fixture");
    let mut listener = Listener::new(&server, None).await;
    let mut body = server.new_session("demo", &["run"]);
    body["env"] = serde_json::json!({"KEY": "sk-secret"});
    server.create(&body).await.expect(201);
    let events = listener.until("started").await;
    assert!(!format!("{events:?}").contains("sk-secret"));
}

#[tokio::test]
async fn a_last_event_id_that_is_none_is_refused() {
    let server = orchestrator("fixture");
    let answer = server
        .get("/events")
        .header("last-event-id", "yesterday")
        .await;
    answer.problem(400, "invalid-request");
    server
        .get("/events")
        .without_token()
        .await
        .problem(401, "unauthorized");
}
