//! Requests that a client repeats until it has an answer.

use agentd_api::Agent;
use agentd_host::testing::{Answer, RunningProgram, TestClient, eventually};
use rustix::process::Signal;
use serde_json::Value;
use warp::http::Method;

use crate::orchestrator;
use crate::program::program;

async fn create(client: &TestClient, body: &Value, key: &str) -> Answer {
    let request = client.post("/agents", body);
    request.header("idempotency-key", key).await
}

async fn restart(client: &TestClient, id: &str, key: &str) -> Answer {
    let request = client.request(Method::POST, &format!("/agents/{id}/restart"));
    request.header("idempotency-key", key).await
}

async fn total(client: &TestClient) -> Value {
    client.get("/agents").await.expect(200).json()["total"].clone()
}

async fn killed_and_started_again(mut daemon: RunningProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    program().start_after(daemon)
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let daemon = program().start();
    let body = daemon.new_session("demo", &["cat"]);
    let first = create(&daemon, &body, "one").await.expect(201).json();
    let repeated = create(&daemon, &body, "one").await.expect(201).json();
    assert_eq!(repeated, first);
    let id = first["id"].as_str().unwrap();
    let restarted = restart(&daemon, id, "two").await.expect(200).json();
    assert_eq!(restarted["restarts"], 1);
    let daemon = killed_and_started_again(daemon).await;
    assert_eq!(
        restart(&daemon, id, "two").await.expect(200).json(),
        restarted
    );
    assert_eq!(
        create(&daemon, &body, "one").await.expect(201).json(),
        first
    );
    let agent: Agent = daemon.get(&format!("/agents/{id}")).await.parse();
    assert_eq!((total(&daemon).await, agent.restarts), (1.into(), 1));
}

#[tokio::test]
async fn many_of_the_same_request_at_once_make_one_agent() {
    let server = orchestrator("fixture");
    let body = server.new_session("demo", &["run"]);
    let requests = (0..20).map(|_| create(&server, &body, "one"));
    let answers = futures_util::future::join_all(requests).await;
    let first = answers[0].json();
    for answer in answers {
        assert_eq!(answer.expect(201).json(), first);
    }
    assert_eq!(total(&server).await, 1);
}

#[tokio::test]
async fn a_request_with_a_key_goes_on_when_its_client_leaves() {
    let server = orchestrator("fixture");
    let body = server.new_session("demo", &["hang"]);
    let request = tokio::spawn({
        let (client, body) = ((*server).clone(), body.clone());
        async move { create(&client, &body, "one").await }
    });
    let pending = async || server.get("/agents?status=pending").await.json()["total"].clone();
    eventually("the start", async || (pending().await == 1).then_some(())).await;
    request.abort();
    // Another request is answered meanwhile, so that the client's leaving was noticed.
    server.start("other", &["run"]).await;
    assert_eq!(pending().await, 1);
}

#[tokio::test]
async fn a_request_that_failed_is_done_again() {
    let server = orchestrator("pty");
    let body = server.new_session("demo", &["./program"]);
    create(&server, &body, "one").await.problem(422, "refused");
    std::os::unix::fs::symlink("/bin/cat", server.work_dir().join("program")).unwrap();
    create(&server, &body, "one").await.expect(201);
    assert_eq!(total(&server).await, 1);
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let server = orchestrator("fixture");
    let body = server.new_session("demo", &["run"]);
    create(&server, &body, "one").await.expect(201);
    let other = server.new_session("other", &["run"]);
    create(&server, &other, "one")
        .await
        .problem(422, "key-reused");
    let unusable = create(&server, &other, "a b").await;
    unusable.problem(400, "invalid-idempotency-key");
    assert_eq!(total(&server).await, 1);
}
