//! What happens to an agent while something else happens to it.

use agentd_api::{Agent, AgentStatus, Health};
use agentd_host::testing::{Answer, DEADLINE, TestServer, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use warp::http::Method;

use crate::events::Listener;
use crate::orchestrator;
use crate::program::program;
use crate::tokens::{agent_of, token};

async fn shown(server: &TestServer, id: &str) -> Agent {
    server
        .get(&format!("/agents/{id}"))
        .await
        .expect(200)
        .parse()
}

async fn until(server: &TestServer, id: &str, status: AgentStatus) -> Agent {
    eventually(status.as_str(), async || {
        Some(shown(server, id).await).filter(|agent| agent.status == status)
    })
    .await
}

/// Begins a request and goes on.
fn begin(server: &TestServer, path: String) -> JoinHandle<Answer> {
    let client = (**server).clone();
    tokio::spawn(async move { client.request(Method::POST, &path).await })
}

/// Begins to create an agent whose start hangs after it has reported that the agent runs.
async fn begin_creating(server: &TestServer) -> (JoinHandle<Answer>, String) {
    let (client, body) = (
        (**server).clone(),
        server.new_session("demo", &["run-before-started"]),
    );
    let creating = tokio::spawn(async move { client.create(&body).await });
    let id = eventually("the agent that is reported to run", async || {
        let agents: Value = server.get("/agents?status=running").await.json();
        Some(agents["items"][0]["id"].as_str()?.to_owned())
    })
    .await;
    assert!(server.work_dir().join("made").exists());
    (creating, id)
}

#[tokio::test]
async fn a_restart_whose_client_leaves_does_not_stay_pending() {
    let server = orchestrator("fixture");
    let agent = server.start("demo", &["hang-on-request"]).await;
    let id = agent.path.strip_prefix("/agents/").unwrap();
    std::fs::write(server.work_dir().join("hang"), "").unwrap();
    let restarting = begin(&server, format!("{}/restart", agent.path));
    until(&server, id, AgentStatus::Pending).await;
    restarting.abort();
    let failed = until(&server, id, AgentStatus::Failed).await;
    assert_eq!((failed.restarts, failed.session), (0, None));
    let exit = failed.history.last().unwrap().exit.clone().unwrap();
    assert_eq!(exit.reason.as_deref(), Some("its start was given up"));
    std::fs::remove_file(server.work_dir().join("hang")).unwrap();
    let again = begin(&server, format!("{}/restart", agent.path))
        .await
        .unwrap();
    let again: Agent = again.expect(200).parse();
    assert_eq!((again.status, again.restarts), (AgentStatus::Running, 1));
}

#[tokio::test]
async fn an_agent_deleted_during_its_start_leaves_nothing() {
    let server = orchestrator("fixture");
    let (creating, id) = begin_creating(&server).await;
    server.delete(&format!("/agents/{id}")).await.expect(204);
    let made = server.work_dir().join("made");
    assert!(
        !made.exists(),
        "the deletion was answered before the start was undone"
    );
    creating.await.unwrap().problem(409, "cancelled");
    assert_eq!(server.get("/agents").await.json()["total"], 0);
}

#[tokio::test]
async fn an_agent_stopped_during_its_start_is_kept_as_stopped() {
    let server = orchestrator("fixture");
    let (creating, id) = begin_creating(&server).await;
    let stop = begin(&server, format!("/agents/{id}/stop")).await.unwrap();
    let stopped: Agent = stop.expect(200).parse();
    assert_eq!(stopped.status, AgentStatus::Stopped);
    assert!(!server.work_dir().join("made").exists());
    let created: Agent = creating.await.unwrap().expect(201).parse();
    assert_eq!(created, stopped);
    server.delete(&format!("/agents/{id}")).await.expect(204);
    server.start("demo", &["run"]).await;
}

#[tokio::test]
async fn a_name_is_free_again_once_the_start_of_a_client_that_left_is_undone() {
    let server = orchestrator("fixture");
    let (creating, _) = begin_creating(&server).await;
    creating.abort();
    let made = server.work_dir().join("made");
    eventually("the name to be free", async || {
        let body = server.new_session("demo", &["run"]);
        let answer = server.create(&body).await;
        (answer.status == 201).then_some(())
    })
    .await;
    assert!(
        !made.exists(),
        "the name was free before the start was undone"
    );
}

#[tokio::test]
async fn a_service_that_shuts_down_undoes_the_starts_under_way() {
    let mut server = orchestrator("fixture");
    let (creating, _) = begin_creating(&server).await;
    let made = server.work_dir().join("made");
    server.stop();
    creating.await.unwrap().problem(503, "shutting-down");
    assert!(
        !made.exists(),
        "the service answered before the start was undone"
    );
}

#[tokio::test]
async fn a_report_under_a_lock_of_the_backend_calls_nothing_of_it() {
    let server = orchestrator("fixture");
    let agent = server.start("demo", &["report-locked"]).await;
    let prompt = timeout(DEADLINE, agent.prompt("x")).await;
    prompt.expect("the report does not return").expect(202);
    let session = agent.show().await;
    assert_eq!(session.health, Health::Unhealthy);
    assert_eq!(session.attach_command, Some(vec!["look".to_owned()]));
}

#[tokio::test]
async fn an_end_during_the_start_comes_last() {
    let server = orchestrator("fixture");
    let mut listener = Listener::new(&server, None).await;
    for round in 0..200 {
        let agent = server.start(&format!("a{round}"), &["end-at-once"]).await;
        let events = listener.until("exited").await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        // The process may become known after the start has returned.
        let started = kinds.iter().filter(|kind| **kind == "started").count();
        assert!(kinds[0] == "created" && started <= 1, "{kinds:?}");
        agent.delete().await;
        let rest = listener.until("deleted").await;
        assert_eq!(rest.len(), 1, "{rest:?}");
    }
}

#[tokio::test]
async fn an_end_says_who_asked_for_it() {
    let mut daemon = program().start();
    let agent = daemon
        .script("demo", "trap 'exit 3' HUP TERM; read line")
        .await;
    let body = json!({"name": "ci", "scope": "admin"});
    let (_, ci) = token(&daemon, &body).await;
    let restart = format!("{}/restart", agent.path);
    let stop = format!("{}/stop", agent.path);
    ci.request(Method::POST, &restart).await.expect(200);
    daemon.request(Method::POST, &stop).await.expect(200);
    // Whoever stops it again changes nothing.
    ci.request(Method::POST, &stop).await.expect(200);
    let reasons = async |agent: &agentd_host::testing::TestSession| {
        let reason = agent.ended().await.reason;
        let path = format!("{}/sessions", agent.path);
        let past = daemon.get(&path).await.expect(200).json();
        let first = past["items"][0]["exit"]["reason"].clone();
        (first, reason)
    };
    let expected = (
        json!("restarted by ci"),
        Some("stopped by admin token".to_owned()),
    );
    assert_eq!(reasons(&agent).await, expected);
    assert_eq!(reasons(&agent_of(&ci, &agent)).await, expected);

    // What ends by itself says nothing of anybody, and nor does one that is restarted after its end.
    daemon.request(Method::POST, &restart).await.expect(200);
    agent.prompt("").await.expect(202);
    assert_eq!(agent.ended().await.reason, None);
    ci.request(Method::POST, &restart).await.expect(200);
    let past = daemon.get(&format!("{}/sessions", agent.path)).await;
    let past = past.expect(200).json();
    let reasons: Vec<&Value> = past["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|past| &past["exit"]["reason"])
        .collect();
    assert_eq!(
        reasons,
        [&expected.0, &json!("stopped by admin token"), &Value::Null]
    );
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    let daemon = program().start_after(daemon);
    let agent = daemon.session(agent.path.rsplit('/').next().unwrap());
    assert_eq!(
        agent.ended().await.reason.as_deref(),
        Some("service stopped")
    );
}
