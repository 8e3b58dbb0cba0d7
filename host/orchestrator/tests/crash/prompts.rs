//! Killed while a prompt is on its way: the next service delivers it, and none does twice.

use agentd_api::PromptState;
use agentd_host::testing::TestBackend;
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
