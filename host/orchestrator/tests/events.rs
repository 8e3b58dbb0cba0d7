use agentd_host::testing::{DEADLINE, TestBackend, TestClient, TestSession, leave_out};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;
use warp::http::Method;

use crate::orchestrator;
use crate::program::program;

/// A listener to `GET /events`.
pub struct Listener {
    response: reqwest::Response,
    text: String,
    /// All that has come.
    heard: String,
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
        Listener::to(client, "/events", last).await
    }

    async fn to(client: &TestClient, path: &str, last: Option<u64>) -> Self {
        let mut request = client.get(path);
        if let Some(last) = last {
            request = request.header("last-event-id", &last.to_string());
        }
        let response = request.stream().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Listener {
            response,
            text: String::new(),
            heard: String::new(),
        }
    }

    /// Reads until an event of that kind, and gives all up to it that have a number.
    pub async fn until(&mut self, kind: &str) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            events.extend(parse(&self.next(kind).await));
            if events.last().is_some_and(|event| event.kind == kind) {
                return events;
            }
        }
    }

    /// Reads until an agent shows `line` last, and gives what it shows.
    pub async fn until_shown(&mut self, agent: &TestSession, line: &str) -> Vec<String> {
        self.until_shown_as(agent, |last| last == line).await
    }

    async fn until_shown_as(
        &mut self,
        agent: &TestSession,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut outputs = self.outputs_until(agent, is_wanted).await;
        outputs.pop().unwrap().1
    }

    /// Reads until an agent shows such a line last, and gives what all showed until then, each with its
    /// path.
    async fn outputs_until(
        &mut self,
        agent: &TestSession,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Vec<(String, Vec<String>)> {
        let mut outputs = Vec::new();
        loop {
            let data = self.unnumbered("output").await;
            let lines: Vec<String> = serde_json::from_value(data["lines"].clone()).unwrap();
            let path = format!("/agents/{}", data["id"].as_str().unwrap());
            let is_last = agent.path == path && lines.last().is_some_and(|last| is_wanted(last));
            outputs.push((path, lines));
            if is_last {
                return outputs;
            }
        }
    }

    /// The data of the next event of that kind, which has no number.
    pub async fn unnumbered(&mut self, kind: &str) -> Value {
        loop {
            let text = self.next(kind).await;
            if field(&text, "event") == Some(kind) {
                assert_eq!(field(&text, "id"), None);
                return serde_json::from_str(field(&text, "data").unwrap()).unwrap();
            }
        }
    }

    /// Whether the text was in anything that has come.
    pub fn has_shown(&self, text: &str) -> bool {
        self.heard.contains(text)
    }

    /// The text of the next event, whatever comes between to keep the stream open.
    async fn next(&mut self, awaited: &str) -> String {
        let next = async {
            loop {
                let part = self.next_part().await;
                if field(&part, "event").is_some() {
                    return part;
                }
            }
        };
        let next = timeout(DEADLINE, next).await;
        next.unwrap_or_else(|_| panic!("in vain: {awaited}"))
    }

    async fn next_part(&mut self) -> String {
        loop {
            if let Some((part, rest)) = self.text.split_once("\n\n") {
                let (part, rest) = (part.to_owned(), rest.to_owned());
                self.text = rest;
                return part;
            }
            let chunk = self.response.chunk().await.unwrap();
            let chunk = chunk.expect("the stream goes on");
            let chunk = std::str::from_utf8(&chunk).unwrap();
            self.text += chunk;
            self.heard += chunk;
        }
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value.trim_start())
}

/// None for a comment, and for an event that nobody resumes after.
fn parse(text: &str) -> Option<Event> {
    Some(Event {
        id: field(text, "id")?.parse().unwrap(),
        kind: field(text, "event")?.to_owned(),
        data: serde_json::from_str(field(text, "data")?).unwrap(),
    })
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn events_are_reported_as_they_happen() {
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
async fn a_restart_is_reported() {
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
    // Every listener gets the same.
    let again = Listener::new(&server, Some(last))
        .await
        .until("deleted")
        .await;
    assert_eq!(again, missed);
}

#[tokio::test]
async fn a_failed_start_is_reported_as_deleted() {
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
async fn events_have_no_secrets() {
    let server = orchestrator("fixture");
    let mut listener = Listener::new(&server, None).await;
    let mut body = server.new_session("demo", &["run"]);
    body["env"] = serde_json::json!({"KEY": "sk-secret"});
    server.create(&body).await.expect(201);
    let events = listener.until("started").await;
    assert!(!format!("{events:?}").contains("sk-secret"));
}

#[tokio::test]
async fn an_invalid_last_event_id_is_refused() {
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

#[tokio::test]
async fn the_last_lines_of_agents_come_with_the_events() {
    let server = orchestrator("pty");
    let script = "stty -echo; echo first; while read -r line; do printf 'got\\n\\n%s' $line; done";
    let agent = server.script("demo", script).await;
    let mut listener = Listener::new(&server, None).await;
    assert_eq!(listener.until_shown(&agent, "first").await, ["first"]);
    agent.prompt("one").await.expect(202);
    let lines = listener.until_shown(&agent, "one").await;
    assert_eq!(lines, ["first", "got", "one"]);
    // Who comes later is shown what is there, though nothing is written any more.
    let mut late = Listener::new(&server, None).await;
    assert_eq!(late.until_shown(&agent, "one").await, lines);
}

#[tokio::test]
async fn a_preview_is_a_few_lines_of_the_screen_however_much_is_written() {
    let server = orchestrator("pty");
    let script = "seq 1 20000; printf '%01000d\\nthe end\\n' 7; read line";
    let agent = server.script("demo", script).await;
    let mut listener = Listener::new(&server, None).await;
    let lines = listener.until_shown(&agent, "the end").await;
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
}

#[tokio::test]
async fn on_tmux_the_last_lines_come_with_the_events_also_one_that_is_not_ended() {
    match TestBackend::tmux() {
        Ok(backend) => show_their_last_lines(&backend, "name?").await,
        Err(missing) => leave_out(&missing),
    }
}

#[tokio::test]
async fn on_docker_the_last_lines_come_with_the_events() {
    match TestBackend::docker() {
        // A log has whole lines.
        Ok(backend) => show_their_last_lines(&backend, "first").await,
        Err(missing) => leave_out(&missing),
    }
}

/// An agent that asks shows `question` last, and goes on.
async fn show_their_last_lines(backend: &TestBackend, question: &str) {
    let daemon = backend.configure(program()).start();
    backend.give(daemon.work_dir());
    let script = "echo first; printf 'name? '; read -r line; echo got $line; read -r line; exit 3";
    let agent = daemon.script("demo", script).await;
    let all = "/events?output=all";
    let mut listener = Listener::to(&daemon, all, None).await;
    listener.until_shown(&agent, question).await;
    agent.prompt("one").await.expect(202);
    // On a terminal, what was typed ends the question's line.
    let is_answer = |line: &str| line.ends_with("got one");
    listener.until_shown_as(&agent, is_answer).await;
    // Who comes later is shown what is there, though nothing is written any more.
    let mut late = Listener::to(&daemon, all, None).await;
    late.until_shown_as(&agent, is_answer).await;
    agent.prompt("two").await.expect(202);
    agent.ended().await;
    // With the end its log is read once more, and stays.
    let mut last = Listener::to(&daemon, all, None).await;
    let shows_something = |line: &str| !line.is_empty();
    last.until_shown_as(&agent, shows_something).await;
}

#[tokio::test]
async fn on_pty_the_last_lines_outlive_the_service() {
    last_lines_outlive_the_service(&TestBackend::pty()).await;
}

#[tokio::test]
async fn on_tmux_the_last_lines_outlive_the_service() {
    match TestBackend::tmux() {
        Ok(backend) => last_lines_outlive_the_service(&backend).await,
        Err(missing) => leave_out(&missing),
    }
}

#[tokio::test]
async fn on_docker_the_last_lines_outlive_the_service() {
    match TestBackend::docker() {
        Ok(backend) => last_lines_outlive_the_service(&backend).await,
        Err(missing) => leave_out(&missing),
    }
}

/// Agents that ended before a service began show what they did last, until they are deleted.
async fn last_lines_outlive_the_service(backend: &TestBackend) {
    let all = "/events?output=all";
    let script = |name: &str| {
        format!("stty -echo 2>/dev/null; echo first; echo the last of {name}; read -r line")
    };
    let mut daemon = backend.configure(program()).start();
    backend.give(daemon.work_dir());
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        let agent = daemon.script(name, &script(name)).await;
        // A terminal that is about to end may lose what it was written last.
        let mut listener = Listener::to(&daemon, all, None).await;
        let last = format!("the last of {name}");
        listener.until_shown(&agent, &last).await;
        agent.prompt("go on").await.expect(202);
        agent.ended().await;
        agents.push(agent);
    }
    let [one, two] = &agents[..] else {
        unreachable!("there are two")
    };
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));

    let daemon = backend.configure(program()).start_after(daemon);
    for (agent, last) in [(one, "the last of one"), (two, "the last of two")] {
        let mut listener = Listener::to(&daemon, all, None).await;
        let lines = listener.until_shown(agent, last).await;
        assert_eq!(lines, ["first", last]);
    }
    daemon.delete(&one.path).await.expect(204);
    let three = daemon.script("three", &script("three")).await;
    let mut listener = Listener::to(&daemon, all, None).await;
    let is_last = |line: &str| line == "the last of three";
    let outputs = listener.outputs_until(&three, is_last).await;
    assert!(outputs.iter().all(|(path, _)| *path != one.path));
    assert!(outputs.iter().any(|(path, _)| *path == two.path));
}

#[tokio::test]
async fn whose_last_lines_are_wanted_is_one_of_two_words() {
    let server = orchestrator("pty");
    let answer = server.get("/events?output=some").await;
    answer.problem(400, "invalid-query");
    Listener::to(&server, "/events?output=terminals", None).await;
}
