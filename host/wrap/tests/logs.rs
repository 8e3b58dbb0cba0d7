use agentd_host::testing::{DEADLINE, TestServer, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::wrap;

#[tokio::test]
async fn the_text_of_the_output_is_the_log() {
    let server = wrap("pty");
    let script = r"printf 'one\n\033[31mtwo\033[0m\nthr'; printf 'ee\n\nfive'";
    let session = server.script("demo", script).await;
    session.ended().await;
    assert_eq!(session.logs("").await, ["one", "two", "three", "", "five"]);
    assert_eq!(session.logs("?tail=2").await, ["", "five"]);
    assert_eq!(session.logs("?tail=0").await, [""; 0]);
    assert_eq!(session.logs("?tail=1000").await.len(), 5);
    let answer = server.get("/sessions/demo/logs?tail=1").await;
    assert_eq!(
        answer.body,
        "{\"ts\":null,\"stream\":null,\"line\":\"five\"}\n"
    );
}

#[tokio::test]
async fn structured_lines_have_a_time_and_a_stream() {
    let server = wrap("fixture");
    let session = server.start("demo", &["run"]).await;
    assert_eq!(session.logs("").await.len(), 5);
    let answer = server.get("/sessions/demo/logs?tail=2").await.expect(200);
    let lines: Vec<Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [
        json!({"ts": "2026-01-02T03:04:04Z", "stream": "stderr", "line": "line 4"}),
        json!({"ts": "2026-01-02T03:04:05Z", "stream": "stdout", "line": "line 5"}),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn followed_logs_come_as_they_are_written_and_end_with_the_session() {
    let server = wrap("pty");
    let session = server
        .script(
            "demo",
            "echo first; while read line; do echo got $line; done",
        )
        .await;
    session.terminal("").await.shows("first").await;
    let mut answer = server
        .get("/sessions/demo/logs?follow=true&tail=1")
        .stream()
        .await;
    let mut text = String::new();
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let chunk = timeout(DEADLINE, answer.chunk()).await.unwrap().unwrap();
            text += std::str::from_utf8(&chunk.expect(wanted)).unwrap();
        }
    };
    read_until("\"first\"").await;
    session.prompt("one").await.expect(202);
    read_until("\"got one\"").await;
    // The end of the input ends the script.
    server
        .post(
            "/sessions/demo/input",
            &json!({"text": "\u{4}", "submit": false}),
        )
        .await
        .expect(202);
    while timeout(DEADLINE, answer.chunk())
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {}
    session.ended().await;
}

#[tokio::test]
async fn followed_logs_of_a_deleted_session_end() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut answer = server.get("/sessions/demo/logs?follow=true").stream().await;
    session.delete().await;
    while timeout(DEADLINE, answer.chunk())
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {}
}

#[tokio::test]
async fn the_log_of_an_unknown_session_is_not_found() {
    let server = wrap("pty");
    server
        .get("/sessions/nobody/logs")
        .await
        .problem(404, "not-found");
}

/// How many calls of the fixture's `logs` follow a log.
fn followers(server: &TestServer) -> usize {
    let entries = std::fs::read_dir(server.work_dir()).unwrap();
    let is_follower = |name: &str| name.starts_with("follower-");
    entries
        .filter(|entry| is_follower(entry.as_ref().unwrap().file_name().to_str().unwrap()))
        .count()
}

async fn until_followers(server: &TestServer, count: usize) {
    let what = format!("{count} followers");
    eventually(&what, async || (followers(server) == count).then_some(())).await;
}

#[tokio::test]
async fn a_follower_that_leaves_ends_the_call_of_the_backend() {
    let server = wrap("fixture");
    server.start("demo", &["run"]).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(server.get("/sessions/demo/logs?follow=true").stream().await);
    }
    until_followers(&server, 5).await;
    answers.truncate(1);
    until_followers(&server, 1).await;
    answers.clear();
    until_followers(&server, 0).await;
}

#[tokio::test]
async fn the_deletion_of_a_session_ends_its_followers_whatever_the_backend_does() {
    let server = wrap("fixture");
    let session = server.start("demo", &["run"]).await;
    let mut answer = server.get("/sessions/demo/logs?follow=true").stream().await;
    until_followers(&server, 1).await;
    session.delete().await;
    let end = async { while answer.chunk().await.unwrap().is_some() {} };
    timeout(DEADLINE, end).await.unwrap();
    until_followers(&server, 0).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_followers() {
    let mut server = wrap("fixture");
    server.start("demo", &["run"]).await;
    let mut answer = server.get("/sessions/demo/logs?follow=true").stream().await;
    until_followers(&server, 1).await;
    server.stop();
    let end = async { while answer.chunk().await.unwrap().is_some() {} };
    timeout(DEADLINE, end).await.unwrap();
    until_followers(&server, 0).await;
}
