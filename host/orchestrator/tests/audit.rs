//! Who asked for what, and what came of it.

use agentd_host::testing::{TestClient, TestSession, eventually};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::orchestrator;
use crate::program::program;
use crate::tokens::token;

/// What must be in no trail and no log.
const SECRETS: [&str; 3] = ["the-prompt", "the-value", "the-wrong-token-of-somebody"];

/// The id of an agent.
fn id(agent: &TestSession) -> &str {
    agent.path.trim_start_matches("/agents/")
}

/// The newest items, oldest first, once there is one with that request.
async fn trail_until(client: &TestClient, query: &str, request: &str) -> Vec<Value> {
    eventually(request, async || {
        let page = client
            .get(&format!("/audit{query}"))
            .await
            .expect(200)
            .json();
        let mut items = page["items"].as_array().unwrap().clone();
        items.reverse();
        items
            .iter()
            .any(|item| item["request"] == request)
            .then_some(items)
    })
    .await
}

/// Request, agent, mode and status of each.
fn summaries(items: &[Value]) -> Vec<(String, bool, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let summaries = items.iter().map(|item| {
        let has_agent = item.get("agent").is_some();
        (
            text(&item["request"]),
            has_agent,
            text(&item["mode"]),
            item["status"].clone(),
        )
    });
    summaries.collect()
}

/// Attack: the audit trail and its log are searched for tokens, prompts and values of variables. Then:
/// they are in neither.
#[tokio::test]
async fn what_changes_something_is_on_record_and_nothing_that_is_secret() {
    let daemon = program().start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["env"] = json!({"SECRET": SECRETS[1]});
    let agent = daemon.start_with(&body).await;
    let path = |rest: &str| format!("/agents/{}{rest}", id(&agent));
    let input = json!({"text": SECRETS[0]});
    daemon.post(&path("/input"), &input).await.expect(202);
    for query in ["", "?mode=ro"] {
        let mut terminal = agent.terminal(query).await;
        terminal.hello().await;
        terminal.detach().await;
    }
    daemon.get(&path("/logs")).await.expect(200);
    daemon.get("/agents").await.expect(200);
    let labels = json!({"labels": {"team": "a"}});
    daemon.patch(&path(""), &labels).await.expect(200);
    daemon.post(&path("/stop"), &json!({})).await.expect(200);
    daemon.get("/agents").token(SECRETS[2]).await.expect(401);
    let login = |token: &str| {
        daemon
            .post("/login", &json!({"token": token}))
            .without_token()
    };
    login(SECRETS[2]).await.expect(401);
    login(&daemon.token).await.expect(204);
    daemon
        .post("/agents/none/stop", &json!({}))
        .await
        .expect(404);
    daemon.delete(&path("")).await.expect(204);
    daemon
        .post("/secret/the-prompt", &json!({}))
        .await
        .expect(405);

    let items = trail_until(&daemon, "", "DELETE /agents/{id}").await;
    let row = |request: &str, has_agent, mode: &str, status: u16| {
        (
            request.to_owned(),
            has_agent,
            mode.to_owned(),
            json!(status),
        )
    };
    let expected = [
        row("POST /agents", true, "", 201),
        row("POST /agents/{id}/input", true, "", 202),
        row("GET /agents/{id}/terminal", true, "rw", 101),
        row("GET /agents/{id}/terminal", true, "ro", 101),
        row("PATCH /agents/{id}", true, "", 200),
        row("POST /agents/{id}/stop", true, "", 200),
        row("GET /agents", false, "", 401),
        row("POST /login", false, "", 401),
        row("POST /login", false, "", 204),
        row("POST /agents/{id}/stop", true, "", 404),
        row("DELETE /agents/{id}", true, "", 204),
    ];
    assert_eq!(summaries(&items), expected);
    for item in &items {
        assert_eq!(item["peer"], "127.0.0.1");
        assert_eq!(item.get("who").is_none(), item["status"] == 401, "{item}");
        assert_ne!(item["agent"], "demo");
    }
    let is_made = |item: &&Value| item["request"] == "POST /agents";
    assert_eq!(items.iter().find(is_made).unwrap()["agent"], id(&agent));
    let (trail, log) = (json!(items).to_string(), daemon.log());
    for secret in SECRETS.into_iter().chain([daemon.token.as_str()]) {
        assert!(!trail.contains(secret), "{trail}");
        assert!(!log.contains(secret), "{log}");
    }
    let line = log
        .lines()
        .find(|line| line.contains("POST /agents/{id}/input"));
    let line = line.unwrap();
    for said in [
        "INFO request{id=",
        " audit: answered",
        "admin token",
        "127.0.0.1",
        id(&agent),
        "202",
    ] {
        assert!(line.contains(said), "{line}");
    }
}

#[tokio::test]
async fn it_is_read_page_by_page_also_after_a_restart() {
    let mut daemon = program().start();
    let (one, other) = (
        daemon.script("one", "cat").await,
        daemon.script("two", "cat").await,
    );
    for _ in 0..5 {
        for agent in [&one, &other] {
            let path = agent.path.clone();
            daemon
                .patch(&path, &json!({"labels": {}}))
                .await
                .expect(200);
        }
    }
    daemon
        .delete(&format!("/agents/{}", id(&one)))
        .await
        .expect(204);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    let daemon = program().start_after(daemon);

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/audit?agent={}&limit=3{cursor}", id(&one));
        let page = daemon.get(&path).await.expect(200).json();
        assert_eq!(page["total"], 7);
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<u64> = seen
        .iter()
        .map(|item| item["id"].as_u64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    assert_eq!(seen.len(), 7);
    assert!(seen.iter().all(|item| item["agent"] == id(&one)));
    assert_eq!(seen[0]["request"], "DELETE /agents/{id}");
    for query in ["limit=0", "limit=201", "cursor=x"] {
        let refused = daemon.get(&format!("/audit?{query}")).await;
        refused.problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn no_more_is_kept_than_is_set() {
    let server = program().env("AGENTD_AUDIT_KEPT", "16").start();
    for _ in 0..60 {
        server
            .post("/agents/none/stop", &json!({}))
            .await
            .expect(404);
    }
    server.delete("/agents/none").await.expect(404);
    let items = trail_until(&server, "?limit=200", "DELETE /agents/{id}").await;
    assert_eq!(items.len(), 16);
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_on_record() {
    let server = orchestrator("pty");
    let agent = server.script(
        "demo",
        "trap '' TERM HUP; echo ready; while :; do sleep 1; done",
    );
    let agent = agent.await;
    let mut terminal = agent.terminal("").await;
    terminal.shows("ready").await;
    let request = format!(
        "POST /agents/{}/stop HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\r\n",
        id(&agent),
        server.address(),
        server.bearer()
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    let items = trail_until(&server, "", "POST /agents/{id}/stop").await;
    let stop = items.last().unwrap();
    assert!(stop.get("status").is_none(), "{stop}");
    assert_eq!(
        (&stop["agent"], &stop["who"]),
        (&json!(id(&agent)), &json!("admin token"))
    );
}

#[tokio::test]
async fn it_says_which_token_asked_and_which_was_made() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let (first, admin) = token(&server, &json!({"name": "ci", "scope": "admin"})).await;
    let (second, _) = token(&admin, &json!({"name": "ci-2", "scope": "read"})).await;
    let links = format!("{}/links", agent.path);
    let link = admin.post(&links, &json!({})).await.expect(201).json();
    // A mistake of somebody who has the token at hand.
    let path = format!("/tokens/{}", admin.token);
    server.delete(&path).await.expect(404);
    let items = trail_until(&server, "", "DELETE /tokens/?").await;
    let of = |request: &str| -> Vec<&Value> {
        let is_of = |item: &&Value| item["request"] == request;
        items.iter().filter(is_of).collect()
    };
    let who = json!(format!("ci ({})", first["id"].as_str().unwrap()));
    let made = of("POST /tokens");
    assert_eq!(
        (&made[0]["who"], &made[0]["made"]),
        (&json!("admin token"), &first["id"])
    );
    assert_eq!((&made[1]["who"], &made[1]["made"]), (&who, &second["id"]));
    let made = of("POST /agents/{id}/links")[0];
    assert_eq!((&made["who"], &made["made"]), (&who, &link["id"]));
    assert_eq!(made["agent"], id(&agent));
}
