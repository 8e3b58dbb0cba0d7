use agentd_api::Agent;
use agentd_host::testing::RunningProgram;
use rustix::process::Signal;
use serde_json::json;

use crate::events::Listener;
use crate::orchestrator;
use crate::program::program;

#[tokio::test]
async fn a_name_is_changed_by_the_rules_of_a_new_one() {
    let server = orchestrator("pty");
    let create = async |name| -> Agent {
        let body = server.new_session(name, &["cat"]);
        server.create(&body).await.expect(201).parse()
    };
    let one = create("one").await;
    create("two").await;
    let path = format!("/agents/{}", one.id);
    let rename = async |name: &str| {
        let labels = json!({"changed": name.len().to_string()});
        let patch = json!({ "name": name, "labels": labels });
        server.patch(&path, &patch).await
    };
    rename("two").await.problem(409, "name-taken");
    rename("a b").await.problem(400, "invalid-name");
    rename("").await.problem(400, "invalid-name");
    let same = server.get(&path).await.json();
    assert_eq!(
        (&same["name"], &same["labels"]),
        (&json!("one"), &json!({}))
    );

    assert_eq!(rename("three").await.expect(200).json()["name"], "three");
    let by_name = async |name: &str| {
        let page = server.get(&format!("/agents?name={name}")).await.json();
        page["total"].as_u64().unwrap()
    };
    assert_eq!((by_name("one").await, by_name("three").await), (0, 1));
    // The old name is free.
    create("one").await;
    rename("three").await.expect(200);
}

#[tokio::test]
async fn a_new_name_is_on_the_disk_and_that_of_the_next_session() {
    let mut daemon: RunningProgram = program().start();
    let body = daemon.new_session("before", &["cat"]);
    let agent: Agent = daemon.create(&body).await.expect(201).parse();
    let mut listener = Listener::new(&daemon, None).await;
    let path = format!("/agents/{}", agent.id);
    let patch = json!({"name": "after"});
    daemon.patch(&path, &patch).await.expect(200);
    let event = listener.until("edited").await.pop().unwrap();
    assert_eq!(event.data["agent"]["name"], "after");
    assert_eq!(event.data["agent"]["session"]["name"], "before");
    drop(listener);
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = program().start_after(daemon);
    assert_eq!(daemon.get(&path).await.json()["name"], "after");
    let restart = format!("{path}/restart");
    let restarted = daemon.request(warp::http::Method::POST, &restart).await;
    let restarted = restarted.expect(200).json();
    assert_eq!(restarted["name"], "after");
    assert_eq!(restarted["session"]["name"], "after");
}
