use agentd_api::Agent;
use agentd_host::testing::{RunningProgram, TestServer};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::events::Listener;
use crate::orchestrator;
use crate::program::program;

async fn create(server: &TestServer, name: &str, labels: Value) -> Agent {
    let mut body = server.new_session(name, &["cat"]);
    body["labels"] = labels;
    server.create(&body).await.expect(201).parse()
}

async fn names(server: &TestServer, query: &str) -> Vec<String> {
    let page = server.get(&format!("/agents{query}")).await.expect(200);
    let items = page.json()["items"].as_array().unwrap().clone();
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

#[tokio::test]
async fn agents_are_found_by_their_labels() {
    let server = orchestrator("pty");
    create(&server, "one", json!({"team": "a", "urgent": ""})).await;
    create(&server, "two", json!({"team": "b", "url": "x=y"})).await;
    create(&server, "three", json!({"team": "a"})).await;
    create(&server, "four", json!({})).await;
    for (query, expected) in [
        ("?label=team=a", &["one", "three"][..]),
        ("?label=team=a&label=urgent", &["one"]),
        ("?label=team", &["one", "two", "three"]),
        ("?label=urgent=", &["one"]),
        ("?label=url=x%3Dy", &["two"]),
        ("?label=team=c", &[]),
        ("?label=team&sort=name&order=desc", &["two", "three", "one"]),
        ("?label=team=a&name=three&status=running", &["three"]),
    ] {
        assert_eq!(names(&server, query).await, expected, "{query}");
    }
    let page = server.get("/agents?label=team&limit=1").await.json();
    assert_eq!(page["total"], 3);
}

#[tokio::test]
async fn labels_are_changed_one_by_one() {
    let server = orchestrator("pty");
    let agent = create(
        &server,
        "demo",
        json!({"team": "a", "urgent": "", "old": "x"}),
    )
    .await;
    let path = format!("/agents/{}", agent.id);
    let patch = json!({"labels": {"team": "b", "old": null, "new": "y", "not-there": null}});
    let edited = server.patch(&path, &patch).await.expect(200).json();
    let expected = json!({"team": "b", "urgent": "", "new": "y"});
    assert_eq!(edited["labels"], expected);
    assert_eq!(server.get(&path).await.json()["labels"], expected);
    assert_eq!(names(&server, "?label=old").await, [""; 0]);
    let nothing = server.patch(&path, &json!({})).await.expect(200).json();
    assert_eq!(nothing["labels"], expected);
}

#[tokio::test]
async fn labels_that_break_a_rule_are_refused_and_change_nothing() {
    let server = orchestrator("pty");
    let agent = create(&server, "demo", json!({"team": "a"})).await;
    let path = format!("/agents/{}", agent.id);
    let many: serde_json::Map<_, _> = (0..33).map(|n| (n.to_string(), json!(""))).collect();
    for labels in [json!({"a b": ""}), json!({"a": "\n"}), Value::Object(many)] {
        let mut body = server.new_session("other", &["cat"]);
        body["labels"] = labels.clone();
        server.create(&body).await.problem(400, "invalid-labels");
        let patch = json!({ "labels": labels });
        let refused = server.patch(&path, &patch).await;
        refused.problem(400, "invalid-labels");
    }
    let agents = server.get("/agents").await.json();
    assert_eq!(agents["total"], 1);
    assert_eq!(agents["items"][0]["labels"], json!({"team": "a"}));
    let unknown = server.patch(&path, &json!({"id": "x"})).await;
    unknown.problem(400, "invalid-body");
    let gone = server.patch("/agents/none", &json!({})).await;
    gone.problem(404, "not-found");
}

#[tokio::test]
async fn labels_outlive_the_service_and_its_sessions() {
    let mut daemon: RunningProgram = program().start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["labels"] = json!({"team": "a"});
    let agent: Agent = daemon.create(&body).await.expect(201).parse();
    let mut listener = Listener::new(&daemon, None).await;
    let path = format!("/agents/{}", agent.id);
    let patch = json!({"labels": {"urgent": "yes"}});
    daemon.patch(&path, &patch).await.expect(200);
    let event = listener.until("edited").await.pop().unwrap();
    let expected = json!({"team": "a", "urgent": "yes"});
    assert_eq!(event.data["agent"]["labels"], expected);
    drop(listener);
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = program().start_after(daemon);
    assert_eq!(daemon.get(&path).await.json()["labels"], expected);
    let restart = format!("{path}/restart");
    let restarted = daemon.request(warp::http::Method::POST, &restart).await;
    assert_eq!(restarted.expect(200).json()["labels"], expected);
}
