use std::fs;
use std::path::Path;

use agentd_api::terminal::Mode;
use agentd_host::testing::{DEADLINE, RunningProgram, TestClient, TestSession, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use warp::http::Method;

use crate::events::Listener;
use crate::orchestrator;
use crate::program::program;

/// Makes a token, and gives what was answered and a client that has it.
pub async fn token(client: &TestClient, body: &Value) -> (Value, TestClient) {
    let made = client.post("/tokens", body).await.expect(201).json();
    let limited = with_token(client, made["token"].as_str().unwrap());
    (made, limited)
}

pub fn with_token(client: &TestClient, token: &str) -> TestClient {
    let mut limited = client.clone();
    token.clone_into(&mut limited.token);
    limited
}

/// The same agent for another client.
pub fn agent_of(client: &TestClient, agent: &TestSession) -> TestSession {
    client.session(id(agent))
}

pub fn id(agent: &TestSession) -> &str {
    agent.path.strip_prefix("/agents/").unwrap()
}

async fn labelled(client: &TestClient, name: &str, labels: Value) -> TestSession {
    let mut body = client.new_session(name, &["cat"]);
    body["labels"] = labels;
    client.start_with(&body).await
}

async fn revoke(client: &TestClient, made: &Value) {
    let path = format!("/tokens/{}", made["id"].as_str().unwrap());
    client.delete(&path).await.expect(204);
}

async fn names(client: &TestClient) -> Vec<String> {
    let page = client.get("/agents?sort=name").await.expect(200).json();
    let items = page["items"].as_array().unwrap();
    assert_eq!(page["total"], items.len());
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

/// Reads an answer to its end.
pub async fn ends(mut answer: reqwest::Response) {
    assert_eq!(answer.status(), 200);
    let end = async { while answer.chunk().await.ok().flatten().is_some() {} };
    timeout(DEADLINE, end).await.expect("the answer ends");
}

/// Attack: a token to read types, resizes, prompts; one to write stops an agent. Then: 403, and nothing
/// is typed.
#[tokio::test]
async fn a_token_allows_what_its_scope_does() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let scoped = async |scope: &str| {
        let (_, client) = token(
            &server,
            &json!({"name": format!("t-{scope}"), "scope": scope}),
        )
        .await;
        client
    };
    let (reader, writer) = (scoped("read").await, scoped("write").await);
    let admin = scoped("admin").await;

    let mut terminal = agent_of(&reader, &agent).terminal("").await;
    assert_eq!(terminal.hello().await.mode, Mode::Ro);
    terminal.type_keys("x\r").await;
    terminal
        .wait_for("a refusal", |terminal| !terminal.errors().is_empty())
        .await;
    assert_eq!(terminal.errors(), ["read-only"]);
    assert_eq!(names(&reader).await, ["demo"]);
    let typed = agent_of(&reader, &agent).prompt("from a reader").await;
    let hint = typed.problem(403, "scope").hint.unwrap();
    assert!(hint.contains("agent token create"), "{hint}");

    let mut terminal = agent_of(&writer, &agent).terminal("").await;
    assert_eq!(terminal.hello().await.mode, Mode::Rw);
    terminal.type_keys("from a writer\r").await;
    terminal.shows("from a writer").await;
    let prompt = agent_of(&writer, &agent).prompt("and a prompt").await;
    prompt.expect(202);
    let stop = format!("{}/stop", agent.path);
    let stopped = writer.request(Method::POST, &stop).await;
    stopped.problem(403, "scope");

    admin.start("another", &["cat"]).await.delete().await;
    let (_, made) = token(&admin, &json!({"name": "made", "scope": "read"})).await;
    let who = made.get("/whoami").await.expect(200).json();
    assert_eq!(who, json!({"name": "made", "scope": "read"}));
    let who = server.get("/whoami").await.expect(200).json();
    assert_eq!(who, json!({"name": "admin token", "scope": "admin"}));
    admin.request(Method::POST, &stop).await.expect(200);
}

/// Attack: a token for one agent is used to see, name, steer or hear of others, or to widen itself.
/// Then: 403, the same whether they are there or not.
#[tokio::test]
async fn a_token_for_one_agent_shows_nothing_of_others() {
    let server = orchestrator("pty");
    let agent = server.start("own", &["cat"]).await;
    let other = server.start("other", &["cat"]).await;
    let body = json!({"name": "t", "scope": "admin", "agent": id(&agent)});
    let (_, limited) = token(&server, &body).await;
    assert_eq!(names(&limited).await, ["own"]);
    let none = limited.get("/agents?name=other").await.json();
    assert_eq!(none["total"], 0);

    let of_other = limited.get(&other.path).await.problem(403, "scope");
    let of_none = limited.get("/agents/none").await.problem(403, "scope");
    assert_eq!(of_other, of_none);
    let under = format!("{}/terminal", other.path);
    let bearer = limited.bearer();
    let opened = limited
        .terminal(&under, &[("authorization", bearer.as_str())])
        .await;
    assert_eq!(opened.unwrap_err(), 403);
    let create = limited.create(&server.new_session("new", &["cat"])).await;
    create.problem(403, "scope");
    let widen = limited.patch(&agent.path, &json!({"labels": {"a": "b"}}));
    widen.await.problem(403, "scope");

    let mut listener = Listener::new(&limited, None).await;
    other.prompt("of the other").await.expect(202);
    agent.prompt("of its own").await.expect(202);
    listener.until_shown(&agent, "of its own").await;
    let stop = |agent: &TestSession| {
        let path = format!("{}/stop", agent.path);
        server.request(Method::POST, &path)
    };
    stop(&other).await.expect(200);
    agent_of(&limited, &agent).delete().await;
    let events = listener.until("deleted").await;
    for event in &events {
        let about = event.data.get("agent").unwrap_or(&event.data);
        assert_eq!(about["id"], id(&agent), "{events:?}");
    }
    assert!(!listener.has_shown(id(&other)));
    limited.get(&agent.path).await.problem(401, "unauthorized");
}

/// Attack: a token for a label is used when its agent has lost that. Then: 403, and what was open ends
/// with 4003.
#[tokio::test]
async fn a_token_for_a_label_reaches_an_agent_as_long_as_that_has_it() {
    let server = orchestrator("pty");
    let agent = labelled(&server, "one", json!({"team": "a"})).await;
    let other = labelled(&server, "two", json!({"team": "b"})).await;
    let body = json!({"name": "t", "scope": "write", "label": "team=a"});
    let (_, limited) = token(&server, &body).await;
    assert_eq!(names(&limited).await, ["one"]);
    let seen = agent_of(&limited, &agent);
    let mut terminal = seen.terminal("").await;
    terminal.hello().await;
    let logs = format!("{}/logs?follow=true", agent.path);
    let logs = limited.get(&logs).stream().await;
    let mut listener = Listener::new(&limited, None).await;

    let label = |agent: &TestSession, team: &str| {
        let patch = json!({"labels": {"team": team}});
        server.patch(&agent.path, &patch)
    };
    label(&agent, "b").await.expect(200);
    assert_eq!(terminal.closed().await, 4003);
    ends(logs).await;
    let events = listener.until("deleted").await;
    assert_eq!(
        events.last().unwrap().data,
        json!({"id": id(&agent), "name": "one"})
    );
    limited.get(&agent.path).await.problem(403, "scope");
    assert_eq!(names(&limited).await, [""; 0]);

    label(&other, "a").await.expect(200);
    let events = listener.until("edited").await;
    assert_eq!(events.last().unwrap().data["agent"]["name"], "two");
    let mut terminal = agent_of(&limited, &other).terminal("").await;
    terminal.hello().await;
    assert_eq!(names(&limited).await, ["two"]);
    let last = events.last().unwrap().id;
    drop(listener);
    let mut listener = Listener::new(&limited, Some(last)).await;
    assert_eq!(listener.until("gap").await.len(), 1);
    let unlimited = server.patch(&other.path, &json!({"labels": {"x": "y"}}));
    unlimited.await.expect(200);
    let events = listener.until("edited").await;
    assert_eq!(events.last().unwrap().data["agent"]["labels"]["x"], "y");
    terminal.type_keys("still open\r").await;
    terminal.shows("still open").await;
}

/// Attack: terminals, logs, events, sign-ins, codes and tickets outlive the token that they came by.
/// Then: they end, and the rest is good for nothing.
#[tokio::test]
async fn what_is_open_with_a_token_ends_when_that_is_revoked() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let (made, limited) = token(&server, &json!({"name": "t", "scope": "read"})).await;
    let login = server.post("/login", &json!({"token": limited.token}));
    let login = login.without_token().await.expect(204);
    let cookie = login.header("set-cookie").split(';').next().unwrap();
    let browser = |method: Method, path: &str| {
        let request = server.request(method, path).without_token();
        request
            .header("cookie", cookie)
            .header("agentd-key", login.header("agentd-key"))
    };
    let who = browser(Method::GET, "/whoami").await.expect(200).json();
    assert_eq!(who, json!({"name": "t", "scope": "read"}));
    let code = browser(Method::POST, "/login/codes").await.expect(201);
    let code = code.json()["code"].clone();
    let ticket = browser(Method::POST, "/tickets").await.expect(201).json();
    let by_ticket = format!(
        "{}/terminal?ticket={}",
        agent.path,
        ticket["ticket"].as_str().unwrap()
    );
    let mut watched = server.terminal(&by_ticket, &[]).await.unwrap();
    assert_eq!(watched.hello().await.mode, Mode::Ro);
    let ticket = browser(Method::POST, "/tickets").await.expect(201).json();
    let mut terminal = agent_of(&limited, &agent).terminal("").await;
    terminal.hello().await;
    let logs = format!("{}/logs?follow=true", agent.path);
    let open = [
        limited.get("/events").stream().await,
        limited.get(&logs).stream().await,
        browser(Method::GET, "/events").stream().await,
    ];

    revoke(&server, &made).await;
    for terminal in [&mut terminal, &mut watched] {
        assert_eq!(terminal.closed().await, 4003);
    }
    for answer in open {
        ends(answer).await;
    }
    limited.get("/agents").await.problem(401, "unauthorized");
    let again = browser(Method::GET, "/agents").await;
    again.problem(401, "unauthorized");
    let with_code = server.post("/login", &json!({"code": code}));
    with_code.without_token().await.problem(401, "unauthorized");
    let by_ticket = format!(
        "{}/terminal?ticket={}",
        agent.path,
        ticket["ticket"].as_str().unwrap()
    );
    let opened = server.terminal(&by_ticket, &[]).await;
    assert_eq!(opened.unwrap_err(), 401);
    let gone = format!("/tokens/{}", made["id"].as_str().unwrap());
    server.delete(&gone).await.problem(404, "not-found");
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left, json!({"items": [], "total": 0}));
    agent.show().await;
}

/// Attack: somebody with a token for one agent spells the path to another one otherwise: parents, doubled and
/// encoded slashes, other cases, a method in a header. Then: none of it is allowed or there.
#[tokio::test]
async fn no_spelling_of_a_path_reaches_another_agent() {
    let server = orchestrator("pty");
    let own = server.start("own", &["cat"]).await;
    let other = server.start("other", &["cat"]).await;
    let body = json!({"name": "t", "scope": "admin", "agent": id(&own)});
    let (_, limited) = token(&server, &body).await;
    let (own_id, other_id) = (id(&own), id(&other));
    for path in [
        format!("/agents/{other_id}"),
        format!("/agents/{other_id}/"),
        format!("/agents/{other_id}//"),
        format!("//agents/{other_id}"),
        format!("/agents//{other_id}"),
        format!("/agents/./{other_id}"),
        format!("/agents/{own_id}/../{other_id}"),
        format!("/agents/{own_id}/../../agents/{other_id}"),
        format!("/agents/{own_id}%2f..%2f{other_id}"),
        format!("/agents/{own_id}/%2e%2e/{other_id}"),
        format!("/agents/{own_id};/../{other_id}"),
        format!("/agents/%20{other_id}"),
        format!("/agents/{other_id}%00"),
        format!("/agents/{other_id}?id={own_id}&agent={own_id}"),
        format!("/agents/{own_id},{other_id}"),
        format!("/agents/{}", other_id.to_uppercase()),
        "/agents/other".to_owned(),
        format!("/AGENTS/{other_id}"),
        format!("/x/../agents/{other_id}"),
    ] {
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/logs"),
            ("GET", "/screen"),
            ("DELETE", ""),
            ("POST", "/stop"),
            ("POST", "/input"),
            ("POST", "/links"),
        ] {
            let request = format!(
                "{method} {path}{rest} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: 17\r\n\
                 Connection: close\r\n\r\n{{\"text\":\"forged\"}}",
                server.address,
                limited.bearer()
            );
            let answer = server.raw(request.as_bytes()).await;
            let is_refused = ["HTTP/1.1 403 ", "HTTP/1.1 404 ", "HTTP/1.1 400 "];
            let is_refused = is_refused.iter().any(|status| answer.starts_with(status));
            assert!(is_refused, "{method} {path}{rest}: {answer}");
        }
    }
    let overridden = limited
        .get(&own.path)
        .header("x-http-method-override", "DELETE")
        .header("x-original-url", &other.path)
        .header("x-rewrite-url", &other.path);
    assert_eq!(overridden.await.expect(200).json()["name"], "own");
    for agent in [&own, &other] {
        agent.show().await;
    }
    other.prompt("from its own").await.expect(202);
    let mut terminal = other.terminal("").await;
    terminal.shows("from its own").await;
    assert!(!terminal.text().contains("forged"));
}

/// Attack: a terminal and events outlive the time of their token. Then: they end.
#[tokio::test]
async fn what_is_open_with_a_token_ends_when_that_expires() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let path = format!("{}/terminal", agent.path);
    let mut expires_in = 2;
    // On a busy machine one may have expired before it is used.
    let (mut terminal, events, limited) = loop {
        let name = format!("for-{expires_in}");
        let body = json!({"name": name, "scope": "read", "expires_in": expires_in});
        let (made, limited) = token(&server, &body).await;
        assert!(made["expires_at"].is_string());
        let bearer = limited.bearer();
        let opened = server
            .terminal(&path, &[("authorization", bearer.as_str())])
            .await;
        let events = limited.get("/events").stream().await;
        match opened {
            Ok(terminal) if events.status() == 200 => break (terminal, events, limited),
            _ => expires_in *= 2,
        }
    };
    assert_eq!(terminal.closed().await, 4003);
    ends(events).await;
    limited.get("/agents").await.problem(401, "unauthorized");
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left["total"], 0);
    let again = json!({"name": format!("for-{expires_in}"), "scope": "read"});
    token(&server, &again).await;
}

/// The files below a directory in which the text is.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = fs::read(&path) {
            let has = bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes());
            found.extend(has.then(|| path.display().to_string()));
        }
    }
    found
}

/// Attack: the database, the state directory and the log at `trace` are searched for tokens. Then: they
/// are in none.
#[tokio::test]
async fn tokens_outlive_the_service_and_their_secrets_are_nowhere() {
    let mut daemon: RunningProgram = program().env("RUST_LOG", "trace").start();
    let agent = daemon.start("demo", &["cat"]).await;
    let body = json!({"name": "kept", "scope": "write", "agent": id(&agent), "expires_in": 3600});
    let (kept, limited) = token(&daemon, &body).await;
    let (other, revoked) = token(&daemon, &json!({"name": "revoked", "scope": "read"})).await;
    limited.get("/whoami").await.expect(200);
    revoked.get("/whoami").await.expect(200);
    let login = daemon.post("/login", &json!({"token": limited.token}));
    login.without_token().await.expect(204);
    revoke(&daemon, &other).await;
    let listed = daemon.get("/tokens").await.expect(200).json();
    let mut expected = kept.clone();
    let secret = limited.token.rsplit('_').next().unwrap().to_owned();
    expected.as_object_mut().unwrap().remove("token");
    expected["last_used_at"] = listed["items"][0]["last_used_at"].clone();
    assert!(expected["last_used_at"].is_string());
    assert_eq!(listed, json!({"items": [expected], "total": 1}));
    assert!(!listed.to_string().contains(&secret));
    // The first use is written at once.
    let database = daemon.state_dir();
    eventually("the use is written", async || {
        // What is copied while it is written may be no database.
        let file = rusqlite::Connection::open(copied(&database)).ok()?;
        let query = "SELECT 1 FROM tokens WHERE name = 'kept' AND last_used_at IS NOT NULL";
        let is_written = file.prepare(query).ok()?.exists([]).ok()?;
        is_written.then_some(())
    })
    .await;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    assert!(daemon.log().contains("DEBUG"), "no log to search");
    assert!(!daemon.log().contains(&secret));
    assert_eq!(files_with(&daemon.state_dir(), &secret), [""; 0]);

    let daemon = program().start_after(daemon);
    let listed = daemon.get("/tokens").await.expect(200).json();
    assert_eq!(listed["items"][0]["name"], "kept");
    assert!(listed["items"][0]["last_used_at"].is_string());
    let limited = with_token(&daemon, &limited.token);
    let who = limited.get("/whoami").await.expect(200).json();
    assert_eq!(
        (&who["agent"], &who["scope"]),
        (&kept["agent"], &json!("write"))
    );
    let revoked = with_token(&daemon, &revoked.token);
    revoked.get("/whoami").await.problem(401, "unauthorized");
}

/// The database, as it is, where nobody uses it.
fn copied(state_dir: &Path) -> std::path::PathBuf {
    let to = state_dir.join("copy");
    fs::create_dir_all(&to).unwrap();
    for name in ["orchestrator.db", "orchestrator.db-wal"] {
        fs::copy(state_dir.join(name), to.join(name)).unwrap();
    }
    to.join("orchestrator.db")
}

#[tokio::test]
async fn tokens_of_an_agent_go_with_it() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let body = json!({"name": "t", "scope": "read", "agent": id(&agent)});
    let (_, limited) = token(&server, &body).await;
    agent.delete().await;
    limited.get("/agents").await.problem(401, "unauthorized");
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left["total"], 0);
    token(&server, &json!({"name": "t", "scope": "read"})).await;
}

/// A request whose head is looked at, and whose body is still to come.
struct HeldBack {
    stream: TcpStream,
    body: String,
}

impl HeldBack {
    async fn new(client: &TestClient, path: &str, headers: &str, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
            client.address(),
            body.len()
        );
        let mut stream = TcpStream::connect(client.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is sent when the route wants the body.
        let expected = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut answer = vec![0; expected.len()];
        let read = timeout(DEADLINE, stream.read_exact(&mut answer)).await;
        read.expect("the body is wanted").unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        HeldBack { stream, body }
    }

    /// Sends the body; the status.
    async fn goes_on(mut self) -> String {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut answer)).await;
        read.expect("there is an answer").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

fn authorization(client: &TestClient) -> String {
    format!("Authorization: {}\r\n", client.bearer())
}

/// Attack: a request holds its body back until its token is revoked. Then: 401.
#[tokio::test]
async fn a_body_that_is_held_back_outlives_no_token() {
    let server = orchestrator("pty");
    let (made, admin) = token(&server, &json!({"name": "t", "scope": "admin"})).await;
    let new = json!({"name": "another", "scope": "admin"});
    let held = HeldBack::new(&server, "/tokens", &authorization(&admin), &new).await;
    revoke(&server, &made).await;
    assert_eq!(held.goes_on().await, "401");
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left["total"], 0, "{left}");
}

/// Attack: a request holds its body back until its browser has signed out. Then: 401.
#[tokio::test]
async fn a_body_that_is_held_back_outlives_no_sign_in() {
    let server = orchestrator("pty");
    let login = server.post("/login", &json!({"token": server.token}));
    let signed_in = login.without_token().await.expect(204);
    let (cookie, key) = (
        signed_in.header("set-cookie"),
        signed_in.header("agentd-key"),
    );
    let cookie = cookie.split(';').next().unwrap();
    let halves = format!("Cookie: {cookie}\r\nAgentd-Key: {key}\r\n");
    let new = json!({"name": "another", "scope": "admin"});
    let held = HeldBack::new(&server, "/tokens", &halves, &new).await;
    let logout = server.post("/logout", &json!({})).without_token();
    let logout = logout.header("cookie", cookie).header("agentd-key", key);
    logout.await.expect(204);
    assert_eq!(held.goes_on().await, "401");
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left["total"], 0, "{left}");
}

/// Attack: a request holds its body back until the agent has lost the label. Then: 403.
#[tokio::test]
async fn a_body_that_is_held_back_reaches_no_agent_without_the_label() {
    let server = orchestrator("pty");
    let agent = labelled(&server, "one", json!({"team": "a"})).await;
    let body = json!({"name": "t", "scope": "write", "label": "team=a"});
    let (_, limited) = token(&server, &body).await;
    let path = format!("{}/input", agent.path);
    let text = json!({"text": "too late"});
    let held = HeldBack::new(&server, &path, &authorization(&limited), &text).await;
    let patch = json!({"labels": {"team": "b"}});
    server.patch(&agent.path, &patch).await.expect(200);
    assert_eq!(held.goes_on().await, "403");
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let name = |name: &str| json!({"name": name, "scope": "read"});
    token(&server, &name("taken")).await;
    let with = |field: &str, value: Value| {
        let mut body = name("t");
        body[field] = value;
        body
    };
    let mut both = with("agent", json!(id(&agent)));
    both["label"] = json!("a=b");
    for (body, status, code) in [
        (name(""), 400, "invalid-name"),
        (name("a b"), 400, "invalid-name"),
        (name("admin"), 400, "invalid-name"),
        (name("Sign-In"), 400, "invalid-name"),
        (name("anybody"), 400, "invalid-name"),
        (name("unix-peer"), 400, "invalid-name"),
        (name("link-1"), 400, "invalid-name"),
        (name("taken"), 409, "name-taken"),
        (with("scope", json!("all")), 400, "invalid-body"),
        (with("other", json!("x")), 400, "invalid-body"),
        (with("agent", json!("none")), 404, "not-found"),
        (with("label", json!("team")), 400, "invalid-token"),
        (with("label", json!("a b=c")), 400, "invalid-labels"),
        (with("expires_in", json!(0)), 400, "invalid-token"),
        (with("expires_in", json!(u64::MAX)), 400, "invalid-token"),
        (both, 400, "invalid-token"),
    ] {
        let refused = server.post("/tokens", &body).await;
        refused.problem(status, code);
    }
    let left = server.get("/tokens").await.expect(200).json();
    assert_eq!(left["total"], 1);
    for wrong in [
        "agt_",
        "agt_0_0",
        &format!("agt_{}_{}", "0".repeat(16), "0".repeat(64)),
    ] {
        let asked = server.get("/agents").token(wrong).await;
        asked.problem(401, "unauthorized");
        let login = server.post("/login", &json!({"token": wrong}));
        login.without_token().await.problem(401, "unauthorized");
    }
}

/// Attack: many things begin at the moment in which their token is revoked. Then: none goes on after
/// that.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_begins_while_a_token_is_revoked_goes_on_after_that() {
    let server = orchestrator("pty");
    for round in 0..5 {
        let body = json!({"name": format!("t{round}"), "scope": "read"});
        let (made, limited) = token(&server, &body).await;
        let uses: Vec<_> = (0..20)
            .map(|_| {
                let request = limited.get("/events");
                tokio::spawn(async move {
                    let answer = request.stream().await;
                    match answer.status().as_u16() {
                        200 => ends(answer).await,
                        status => assert_eq!(status, 401),
                    }
                })
            })
            .collect();
        revoke(&server, &made).await;
        limited.get("/events").await.problem(401, "unauthorized");
        for used in uses {
            used.await.unwrap();
        }
    }
}
