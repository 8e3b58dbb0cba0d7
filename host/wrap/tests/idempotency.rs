//! Creates that a client repeats until it has an answer.

use agentd_host::testing::{Answer, TestClient, eventually};
use futures_util::future::join_all;
use serde_json::Value;

use crate::wrap;

async fn create(client: &TestClient, body: &Value, key: &str) -> Answer {
    let request = client.post("/sessions", body);
    request.header("idempotency-key", key).await
}

async fn total(client: &TestClient) -> Value {
    client.get("/sessions").await.expect(200).json()["total"].clone()
}

#[tokio::test]
async fn a_repeated_create_gets_the_first_answer() {
    let server = wrap("pty");
    let body = server.new_session("demo", &["cat"]);
    let first = create(&server, &body, "one").await.expect(201).json();
    let repeated = create(&server, &body, "one").await.expect(201).json();
    assert_eq!(repeated, first);
    create(&server, &body, "two")
        .await
        .problem(409, "name-taken");
    // What was asked for was done, also if it is not there any more.
    server.delete("/sessions/demo").await.expect(204);
    let repeated = create(&server, &body, "one").await.expect(201).json();
    assert_eq!((repeated, total(&server).await), (first, 0.into()));
    create(&server, &body, "two").await.expect(201);
}

#[tokio::test]
async fn many_of_the_same_create_at_once_make_one_session() {
    let server = wrap("fixture");
    let body = server.new_session("demo", &["run"]);
    let answers = join_all((0..20).map(|_| create(&server, &body, "one"))).await;
    let first = answers[0].json();
    for answer in answers {
        assert_eq!(answer.expect(201).json(), first);
    }
    assert_eq!(total(&server).await, 1);
}

#[tokio::test]
async fn a_create_with_a_key_goes_on_when_its_client_leaves() {
    let server = wrap("fixture");
    let body = server.new_session("demo", &["hang"]);
    let request = tokio::spawn({
        let (client, body) = ((*server).clone(), body.clone());
        async move { create(&client, &body, "one").await }
    });
    let state = async || server.get("/sessions/demo").await.json()["state"].clone();
    eventually("the start", async || {
        (state().await == "starting").then_some(())
    })
    .await;
    request.abort();
    // Another request is answered meanwhile, so that the client's leaving was noticed.
    server.start("other", &["run"]).await;
    assert_eq!(state().await, "starting");
}

#[tokio::test]
async fn a_key_is_good_for_one_create_and_a_create_that_failed_is_done_again() {
    let server = wrap("pty");
    let body = server.new_session("demo", &["./program"]);
    create(&server, &body, "one").await.problem(422, "refused");
    std::os::unix::fs::symlink("/bin/cat", server.work_dir().join("program")).unwrap();
    create(&server, &body, "one").await.expect(201);
    let other = server.new_session("other", &["cat"]);
    create(&server, &other, "one")
        .await
        .problem(422, "key-reused");
    let unusable = create(&server, &other, "a b").await;
    unusable.problem(400, "invalid-idempotency-key");
    assert_eq!(total(&server).await, 1);
}
