//! Requests that a client repeats until it has an answer.

use agentd_api::Agent;
use agentd_host::testing::{Answer, RunningProgram, TestClient, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use warp::http::Method;

use crate::orchestrator;
use crate::program::program;
use crate::tokens::with_token;

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

async fn make(client: &TestClient, path: &str, body: &Value, key: &str) -> Answer {
    let request = client.post(path, body);
    request.header("idempotency-key", key).await
}

#[tokio::test]
async fn a_token_is_made_once_for_a_key() {
    let daemon = program().start();
    let body = json!({"name": "reader", "scope": "read"});
    let first = make(&daemon, "/tokens", &body, "one").await.expect(201);
    let first = first.json();
    let token = first["token"].as_str().unwrap().to_owned();
    let requests = (0..10).map(|_| make(&daemon, "/tokens", &body, "one"));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.expect(201).json(), first);
    }
    with_token(&daemon, &token).get("/agents").await.expect(200);

    let daemon = killed_and_started_again(daemon).await;
    let repeated = make(&daemon, "/tokens", &body, "one").await.expect(201);
    assert_eq!(repeated.json(), first);
    assert_eq!(daemon.get("/tokens").await.json()["total"], 1);
    let reader = with_token(&daemon, &token);
    reader.get("/agents").await.expect(200);
    let other = json!({"name": "other", "scope": "read"});
    let other = make(&daemon, "/tokens", &other, "one").await;
    other.problem(422, "key-reused");

    // A repetition of what was revoked lets nobody in again.
    let id = first["id"].as_str().unwrap();
    daemon.delete(&format!("/tokens/{id}")).await.expect(204);
    let repeated = make(&daemon, "/tokens", &body, "one").await.expect(201);
    assert_eq!(repeated.json(), first);
    reader.get("/agents").await.expect(401);
    assert_eq!(daemon.get("/tokens").await.json()["total"], 0);
}

#[tokio::test]
async fn a_link_is_made_once_for_a_key() {
    let daemon = program().start();
    let (demo, other) = (
        daemon.start("demo", &["cat"]).await,
        daemon.start("other", &["cat"]).await,
    );
    let links = format!("{}/links", demo.path);
    let first = make(&daemon, &links, &json!({}), "one").await.expect(201);
    let repeated = make(&daemon, &links, &json!({}), "one").await.expect(201);
    assert_eq!(repeated.json(), first.json());
    assert_eq!(daemon.get(&links).await.json()["total"], 1);
    // The same for another agent is another request, and so is an agent.
    let others = format!("{}/links", other.path);
    let reused = make(&daemon, &others, &json!({}), "one").await;
    reused.problem(422, "key-reused");
    let body = daemon.new_session("third", &["cat"]);
    let reused = create(&daemon, &body, "one").await;
    reused.problem(422, "key-reused");
}

#[tokio::test]
async fn a_secret_is_not_made_again_with_another_token_of_the_service() {
    let mut daemon = program().start();
    let body = json!({"name": "reader", "scope": "read"});
    make(&daemon, "/tokens", &body, "one").await.expect(201);
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    std::fs::remove_file(daemon.state_dir().join("token")).unwrap();
    let daemon = program().start_after(daemon);
    let repeated = make(&daemon, "/tokens", &body, "one").await;
    let problem = repeated.problem(409, "secret-lost");
    assert!(problem.hint.is_some());
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
