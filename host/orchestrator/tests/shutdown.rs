//! What becomes of agents when the service is asked to end.

use std::time::{Duration, Instant};

use agentd_api::{Agent, AgentStatus};
use agentd_host::testing::{RunningProgram, TestBackend, TestProgram, eventually, leave_out};
use rustix::process::Signal;
use serde_json::json;

use crate::program::program;
use crate::reconcile::{shown, until};

/// No shutdown takes longer.
const LONGEST: Duration = Duration::from_secs(12);

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

/// A backend; none, with the reason printed, where its tool is missing.
fn there(backend: Result<TestBackend, String>) -> Option<TestBackend> {
    backend.map_err(|missing| leave_out(&missing)).ok()
}

/// A service on the backend. Agents work where the daemon does, which is to be theirs.
fn start(backend: &TestBackend, program: TestProgram) -> RunningProgram {
    let daemon = backend.configure(program).start();
    backend.give(daemon.work_dir());
    daemon
}

async fn delete_all(daemon: &RunningProgram, agents: &[Agent]) {
    for agent in agents {
        let path = format!("/agents/{}", agent.id);
        daemon.delete(&path).await.expect(204);
    }
}

/// Agents that ended with the service are stopped, and those that always run do so again.
async fn ends_with_the_service(backend: &TestBackend) {
    let hasty = || program().env("AGENTD_RESTART_BACKOFF_MS", "10");
    let daemon = start(backend, hasty());
    let mut agents = Vec::new();
    for policy in POLICIES {
        agents.push(create(&daemon, policy, policy, "read line").await);
    }
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert_eq!(backend.sessions(), 0, "nothing of them is left");
    let daemon = backend.configure(hasty()).start_after(daemon);
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
    ends_with_the_service(&TestBackend::pty()).await;
}

#[tokio::test]
async fn a_tmux_agent_ends_with_the_service() {
    if let Some(tmux) = there(TestBackend::tmux()) {
        ends_with_the_service(&tmux).await;
    }
}

#[tokio::test]
async fn a_container_ends_with_the_service() {
    if let Some(docker) = there(TestBackend::docker()) {
        ends_with_the_service(&docker).await;
    }
}

/// All of them are the same as before in the next service.
async fn are_left_running(backend: &TestBackend) {
    let left = || program().env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "true");
    let daemon = start(backend, left());
    let mut agents = Vec::new();
    for number in 0..8 {
        let policy = POLICIES[number % 3];
        agents.push(create(&daemon, &format!("a{number}"), policy, "read line").await);
    }
    let daemon = again(daemon, backend.configure(left())).await;
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
    assert_eq!(backend.sessions(), 0);
}

#[tokio::test]
async fn agents_in_tmux_that_are_left_running_are_all_adopted() {
    if let Some(tmux) = there(TestBackend::tmux()) {
        are_left_running(&tmux).await;
    }
}

#[tokio::test]
async fn containers_that_are_left_running_are_all_adopted() {
    if let Some(docker) = there(TestBackend::docker()) {
        are_left_running(&docker).await;
    }
}

/// Each of them waits with its end for that of all others: ended one after another they would be killed.
/// What they wrote is there afterwards.
async fn all_end_at_the_same_time(backend: &TestBackend, count: usize) {
    let daemon = start(backend, program());
    let mut agents = Vec::new();
    for number in 0..count {
        let waits = format!(
            "trap ': > ending-{number}; set --; while [ $# -lt {count} ]; do sleep 0.1; set -- ending-*; \
             done; : > ended-{number}; exit 0' TERM HUP; echo ready; while :; do sleep 0.1; done"
        );
        agents.push(create(&daemon, &format!("a{number}"), "never", &waits).await);
    }
    for agent in &agents {
        ready(&daemon, agent).await;
    }
    let asked = Instant::now();
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    let took = asked.elapsed();
    assert!(took < LONGEST, "{took:?}\n{}", daemon.log());
    assert_eq!(backend.sessions(), 0);
    let ended = |number: &usize| daemon.work_dir().join(format!("ended-{number}")).exists();
    assert_eq!((0..count).filter(ended).count(), count, "some were killed");
    let daemon = backend.configure(program()).start_after(daemon);
    let page = daemon.get("/agents?status=stopped").await.json();
    assert_eq!(page["total"], count);
    for agent in &agents {
        ready(&daemon, agent).await;
    }
}

/// Agents that nothing but a kill ends are killed early enough for their sessions to be removed.
#[tokio::test]
async fn many_deaf_tmux_agents_end_in_time() {
    let Some(tmux) = there(TestBackend::tmux()) else {
        return;
    };
    let daemon = start(&tmux, program());
    let deaf = "trap '' TERM HUP; echo ready; while :; do sleep 100; done";
    let mut agents = Vec::new();
    for number in 0..60 {
        agents.push(create(&daemon, &format!("a{number}"), "never", deaf).await);
    }
    for agent in &agents {
        ready(&daemon, agent).await;
    }
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert_eq!(tmux.sessions(), 0, "{}", daemon.log());
}

/// Waits until it has said so.
async fn ready(daemon: &RunningProgram, agent: &Agent) {
    let logs = format!("/agents/{}/logs", agent.id);
    eventually("what it wrote", async || {
        daemon.get(&logs).await.body.contains("ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn all_pty_agents_end_at_the_same_time() {
    all_end_at_the_same_time(&TestBackend::pty(), 8).await;
}

#[tokio::test]
async fn all_tmux_agents_end_at_the_same_time() {
    if let Some(tmux) = there(TestBackend::tmux()) {
        all_end_at_the_same_time(&tmux, 12).await;
    }
}

#[tokio::test]
async fn all_containers_end_at_the_same_time() {
    if let Some(docker) = there(TestBackend::docker()) {
        all_end_at_the_same_time(&docker, 8).await;
    }
}
