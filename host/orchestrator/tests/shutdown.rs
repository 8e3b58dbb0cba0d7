//! What becomes of agents when the service is asked to end.

use std::time::{Duration, Instant};

use agentd_api::{Agent, AgentStatus};
use agentd_host::testing::{RunningProgram, TestProgram, build_library, leave_out};
use rustix::process::Signal;
use serde_json::json;

use crate::program::program;
use crate::reconcile::{shown, until};

const POLICIES: [&str; 3] = ["never", "on-failure", "always"];

async fn create(daemon: &RunningProgram, name: &str, policy: &str, script: &str) -> Agent {
    let mut body = daemon.new_session(name, &["sh", "-c", script]);
    body["restart"] = json!(policy);
    daemon.create(&body).await.expect(201).parse()
}

async fn again(mut daemon: RunningProgram, next: TestProgram) -> RunningProgram {
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    next.start_after(daemon)
}

/// None where there is no tmux.
fn tmux() -> Option<impl Fn() -> TestProgram> {
    if std::process::Command::new("tmux")
        .arg("-V")
        .output()
        .is_err()
    {
        leave_out("tmux is not installed");
        return None;
    }
    build_library("agentd-backend-tmux");
    let socket = format!("shutdown-{}", uuid::Uuid::new_v4());
    Some(move || {
        program()
            .env("AGENTD_BACKEND", "tmux")
            .env("AGENTD_TMUX_SOCKET", &socket)
    })
}

async fn delete_all(daemon: &RunningProgram, agents: &[Agent]) {
    for agent in agents {
        let path = format!("/agents/{}", agent.id);
        daemon.delete(&path).await.expect(204);
    }
}

/// Agents that ended with the service are stopped, and those that always run do so again.
async fn ends_with_the_service(program: impl Fn() -> TestProgram) {
    let hasty = || program().env("AGENTD_RESTART_BACKOFF_MS", "10");
    let daemon = hasty().start();
    let mut agents = Vec::new();
    for policy in POLICIES {
        agents.push(create(&daemon, policy, policy, "read line").await);
    }
    let daemon = again(daemon, hasty()).await;
    until(&daemon, &agents[2].id, "the restart", |agent| {
        (agent.restarts, agent.status) == (1, AgentStatus::Running)
    })
    .await;
    for agent in &agents[..2] {
        let stopped = shown(&daemon, &agent.id).await;
        let exit = stopped.session.unwrap().exit.unwrap();
        assert_eq!(
            (stopped.status, exit.reason.as_deref()),
            (AgentStatus::Stopped, Some("service stopped"))
        );
        assert_eq!((stopped.restarts, stopped.next_restart_at), (0, None));
    }
    delete_all(&daemon, &agents).await;
}

#[tokio::test]
async fn a_pty_agent_ends_with_the_service() {
    ends_with_the_service(program).await;
}

#[tokio::test]
async fn a_tmux_agent_ends_with_the_service() {
    let Some(tmux) = tmux() else { return };
    ends_with_the_service(tmux).await;
}

#[tokio::test]
async fn agents_that_are_left_running_are_all_adopted() {
    let Some(tmux) = tmux() else { return };
    let left = || tmux().env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "true");
    let daemon = left().start();
    let mut agents = Vec::new();
    for number in 0..8 {
        let policy = POLICIES[number % 3];
        agents.push(create(&daemon, &format!("a{number}"), policy, "read line").await);
    }
    let daemon = again(daemon, left()).await;
    for agent in &agents {
        let adopted = shown(&daemon, &agent.id).await;
        assert_eq!(
            (adopted.restarts, adopted.status),
            (0, AgentStatus::Running)
        );
        let pid = |agent: &Agent| agent.session.as_ref().unwrap().pid;
        assert_eq!(pid(&adopted), pid(agent));
    }
    let health = daemon.get("/health?verbose=1").await.json();
    assert_eq!(health["reconcile"]["counts"], json!({"adopted": 8}));
    delete_all(&daemon, &agents).await;
}

#[tokio::test]
async fn all_agents_end_at_the_same_time() {
    let daemon = program().start();
    let slow = "trap 'sleep 2; exit 0' TERM HUP; echo ready; while :; do sleep 0.1; done";
    for number in 0..8 {
        let agent = create(&daemon, &format!("a{number}"), "never", slow).await;
        let logs = format!("/agents/{}/logs", agent.id);
        agentd_host::testing::eventually("the trap", async || {
            daemon.get(&logs).await.body.contains("ready").then_some(())
        })
        .await;
    }
    let asked = Instant::now();
    let daemon = again(daemon, program()).await;
    assert!(
        asked.elapsed() < Duration::from_secs(14),
        "{:?}",
        asked.elapsed()
    );
    let page = daemon.get("/agents?status=stopped").await.json();
    assert_eq!(page["total"], 8);
}
