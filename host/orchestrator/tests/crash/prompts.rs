//! Killed while a prompt is on its way: the next service delivers it, and none does twice.

use agentd_api::PromptState;
use agentd_host::testing::{RunningProgram, TestBackend};
use agentd_orchestrator::CrashPoint;
use serde_json::json;

use super::points::{armed, assert_killed};
use super::world;
use crate::prompt::{READER, has_read, until};

async fn killed_with_a_prompt(backend: Result<TestBackend, String>) {
    let Some(world) = world(backend) else {
        return;
    };
    for point in [
        CrashPoint::CreateStarted,
        CrashPoint::CreateNoted,
        CrashPoint::PromptDue,
        CrashPoint::PromptTaken,
    ] {
        let mut daemon = world.start_as(armed(&world, point));
        let mut body = world.request("demo");
        body["command"] = json!(["/bin/sh", "-c", READER]);
        body["prompt"] = json!("do it");
        let created = tokio::spawn(daemon.post("/agents", &body).unless_cut());
        assert_killed(daemon.as_mut(), point).await;
        if matches!(point, CrashPoint::PromptDue | CrashPoint::PromptTaken) {
            created.await.unwrap().unwrap().expect(201);
        }
        drop(daemon);

        let daemon = world.start();
        let list = daemon.get("/agents").await.expect(200).json();
        let agent = daemon.session(list["items"][0]["id"].as_str().unwrap());
        until(&daemon, &agent, PromptState::Delivered).await;
        agent.prompt("last").await.expect(202);
        let read = has_read(&agent, "last").await;
        match point {
            // At most once.
            CrashPoint::PromptTaken => assert_eq!(read, ["last"]),
            _ => assert_eq!(read, ["do it", "last"], "{point:?}"),
        }
        world.clear(&daemon).await;
    }
}

/// Killed before the answer; repeated once the next service has told the agent what to do.
async fn killed_with_a_prompt_and_a_key(backend: Result<TestBackend, String>) {
    let Some(world) = world(backend) else {
        return;
    };
    let mut daemon = world.start_as(armed(&world, CrashPoint::CreateStarted));
    let mut body = world.request("demo");
    body["command"] = json!(["/bin/sh", "-c", READER]);
    body["prompt"] = json!("do it");
    let create = |daemon: &RunningProgram| {
        let create = daemon.post("/agents", &body);
        create.header("idempotency-key", "once")
    };
    let created = tokio::spawn(create(&daemon).unless_cut());
    assert_killed(daemon.as_mut(), CrashPoint::CreateStarted).await;
    assert!(created.await.unwrap().is_none());
    drop(daemon);

    let daemon = world.start();
    let list = daemon.get("/agents").await.expect(200).json();
    let agent = daemon.session(list["items"][0]["id"].as_str().unwrap());
    until(&daemon, &agent, PromptState::Delivered).await;
    let answer = create(&daemon).await.expect(201).json();
    assert_eq!(answer["id"], list["items"][0]["id"]);
    assert_eq!(create(&daemon).await.expect(201).json(), answer);
    agent.prompt("last").await.expect(202);
    assert_eq!(has_read(&agent, "last").await, ["do it", "last"]);
    let list = daemon.get("/agents").await.expect(200).json();
    assert_eq!(list["total"], 1);
    world.clear(&daemon).await;
}

/// Fault: a create with a key and a prompt is repeated after the service was killed. Then: one agent, prompted once.
#[tokio::test]
async fn killed_with_a_prompt_and_a_key_with_a_keeper() {
    killed_with_a_prompt_and_a_key(Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_with_a_prompt_and_a_key_on_tmux() {
    killed_with_a_prompt_and_a_key(TestBackend::tmux()).await;
}

/// Fault: the service is killed between the creation with a prompt and its delivery. Then: the next one delivers it, once.
#[tokio::test]
async fn killed_with_a_prompt_with_a_keeper() {
    killed_with_a_prompt(Ok(TestBackend::kept())).await;
}

#[tokio::test]
async fn killed_with_a_prompt_on_tmux() {
    killed_with_a_prompt(TestBackend::tmux()).await;
}

#[tokio::test]
async fn killed_with_a_prompt_on_docker() {
    killed_with_a_prompt(TestBackend::docker()).await;
}
