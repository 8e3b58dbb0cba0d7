use agentd_api::terminal::Mode;
use agentd_host::{from_rfc3339, now};
use serde_json::{Value, json};

use crate::orchestrator;
use crate::tokens::{agent_of, ends, id, with_token};

/// Attack: the link to an agent is used for another agent, to type, or after it was taken back. Then:
/// 403 or 401.
#[tokio::test]
async fn a_link_opens_one_agent_to_look_for_an_hour() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let other = server.start("other", &["cat"]).await;
    let links = format!("{}/links", agent.path);
    let before = from_rfc3339(&now()).unwrap();
    let made = server.post(&links, &json!({})).await.expect(201).json();
    assert_eq!(made["mode"], "ro");
    let expires_at = from_rfc3339(made["expires_at"].as_str().unwrap()).unwrap();
    assert!(expires_at - before >= 3_600_000);
    let url = made["url"].as_str().unwrap();
    let (page, token) = url.split_once("#link=").unwrap();
    assert_eq!(page, format!("http://{}/", server.address));
    let listed = server.get(&links).await.expect(200).json();
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("url");
    assert_eq!(listed, json!({"items": [expected], "total": 1}));

    let guest = with_token(&server, token);
    let who = guest.get("/whoami").await.expect(200).json();
    assert_eq!(
        (&who["agent"], &who["scope"]),
        (&json!(id(&agent)), &json!("read"))
    );
    let seen = agent_of(&guest, &agent);
    seen.show().await;
    seen.logs("").await;
    let mut terminal = seen.terminal("").await;
    assert_eq!(terminal.hello().await.mode, Mode::Ro);
    seen.prompt("x").await.problem(403, "scope");
    guest.get(&other.path).await.problem(403, "scope");
    guest.post(&links, &json!({})).await.problem(403, "scope");
    guest.get("/tokens").await.problem(403, "scope");
    let events = guest.get("/events").stream().await;
    let listed = server.get(&links).await.expect(200).json();
    assert!(listed["items"][0]["last_used_at"].is_string());
    let tokens = server.get("/tokens").await.expect(200).json();
    assert_eq!(tokens["items"][0]["link"], true);

    let link = |id: &Value| format!("/{}", id.as_str().unwrap());
    let of_other = format!("{}/links{}", other.path, link(&made["id"]));
    server.delete(&of_other).await.problem(404, "not-found");
    seen.show().await;
    let own = format!("{links}{}", link(&made["id"]));
    server.delete(&own).await.expect(204);
    assert_eq!(terminal.closed().await, 4003);
    ends(events).await;
    guest.get(&agent.path).await.problem(401, "unauthorized");
    server.delete(&own).await.problem(404, "not-found");
    assert_eq!(server.get(&links).await.expect(200).json()["total"], 0);
}

#[tokio::test]
async fn a_link_may_let_one_type() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let links = format!("{}/links", agent.path);
    let body = json!({"mode": "rw", "expires_in": 60});
    let made = server.post(&links, &body).await.expect(201).json();
    assert_eq!(made["mode"], "rw");
    let (_, token) = made["url"].as_str().unwrap().split_once("#link=").unwrap();
    let guest = with_token(&server, token);
    let seen = agent_of(&guest, &agent);
    let mut terminal = seen.terminal("").await;
    assert_eq!(terminal.hello().await.mode, Mode::Rw);
    terminal.type_keys("from a guest\r").await;
    terminal.shows("from a guest").await;
    seen.prompt("a prompt").await.expect(202);
    guest.delete(&agent.path).await.problem(403, "scope");
}

#[tokio::test]
async fn a_link_that_makes_no_sense_is_refused() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let links = format!("{}/links", agent.path);
    for (body, code) in [
        (json!({"mode": "all"}), "invalid-body"),
        (json!({"name": "x"}), "invalid-body"),
        (json!({"expires_in": 0}), "invalid-token"),
    ] {
        server.post(&links, &body).await.problem(400, code);
    }
    let of_none = server.post("/agents/none/links", &json!({})).await;
    of_none.problem(404, "not-found");
    let of_none = server.get("/agents/none/links").await;
    of_none.problem(404, "not-found");
}
