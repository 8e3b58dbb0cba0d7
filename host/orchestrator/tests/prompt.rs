//! The prompt that an agent is created with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use agentd_api::{Agent, PromptState};
use agentd_host::testing::{TestBackend, TestClient, TestSession, eventually, leave_out};
use serde_json::{Value, json};
use warp::http::Method;

use crate::orchestrator;
use crate::program::program;

/// Shows each line that it reads.
pub const READER: &str = "echo ready; while read -r line; do echo \"read: $line\"; done";

/// What asks for an agent that runs the script, with a prompt.
pub fn prompted(client: &TestClient, name: &str, script: &str, prompt: &str) -> Value {
    let mut body = client.new_session(name, &["/bin/sh", "-c", script]);
    body["prompt"] = json!(prompt);
    body
}

pub async fn shown(client: &TestClient, agent: &TestSession) -> Agent {
    client.get(&agent.path).await.expect(200).parse()
}

/// Waits until that became of its prompt.
pub async fn until(client: &TestClient, agent: &TestSession, state: PromptState) -> Agent {
    eventually(state.as_str(), async || {
        Some(shown(client, agent).await).filter(|agent| agent.prompt == Some(state))
    })
    .await
}

/// What it has read, once this is the last line of it.
pub async fn has_read(agent: &TestSession, last: &str) -> Vec<String> {
    eventually(last, async || {
        let lines = agent.logs("").await;
        // What is typed may be shown before it on the same line.
        let read = lines.iter().filter_map(|line| line.split_once("read: "));
        let read: Vec<String> = read.map(|(_, line)| line.to_owned()).collect();
        (read.last().map(String::as_str) == Some(last)).then_some(read)
    })
    .await
}

async fn ask(client: &TestClient, agent: &TestSession, what: &str) {
    let path = format!("{}/{what}", agent.path);
    client.request(Method::POST, &path).await.expect(200);
}

/// Created with a prompt, sent another one at once, and started again.
async fn is_prompted_once(client: &TestClient, body: &Value) {
    let created = client.create(body).await.expect(201);
    assert!(!created.body.contains("do it"), "{created:?}");
    let agent = client.session(created.json()["id"].as_str().unwrap());
    agent.prompt("and then this").await.expect(202);
    let read = has_read(&agent, "and then this").await;
    assert_eq!(read, ["do it", "and then this"]);
    let agent_now = shown(client, &agent).await;
    assert_eq!(agent_now.prompt, Some(PromptState::Delivered));
    ask(client, &agent, "restart").await;
    agent.prompt("again").await.expect(202);
    assert_eq!(has_read(&agent, "again").await, ["again"]);
    agent.delete().await;
}

#[tokio::test]
async fn an_agent_is_created_with_a_prompt_and_prompted_once_on_pty() {
    let server = orchestrator("pty");
    is_prompted_once(&server, &prompted(&server, "demo", READER, "do it")).await;
}

async fn on(backend: Result<TestBackend, String>) {
    let backend = match backend {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let server = backend.configure(program()).start();
    backend.give(server.work_dir());
    is_prompted_once(&server, &prompted(&server, "demo", READER, "do it")).await;
}

#[tokio::test]
async fn an_agent_is_created_with_a_prompt_and_prompted_once_on_tmux() {
    on(TestBackend::tmux()).await;
}

#[tokio::test]
async fn an_agent_is_created_with_a_prompt_and_prompted_once_on_docker() {
    on(TestBackend::docker()).await;
}

/// Drops all keys until it shows its prompt, and then an Enter that comes with the first of them.
const STARTS_SLOWLY: &str = r#"#!/bin/sh
stty raw -echo
timeout --foreground 1 cat >/dev/null
printf '\342\235\257 \r\n? for shortcuts\r\n'
dd bs=4096 count=1 2>/dev/null | tr -d '\r'
stty sane -echo
read -r line
printf '\r\nEnter came\r\n'
sleep 1000
"#;

/// Starts that under a name of which a rule knows the prompt.
async fn starts_slowly(client: &TestClient) {
    let program = client.work_dir().join("claude");
    fs::write(&program, STARTS_SLOWLY).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut body = client.new_session("demo", &[program.to_str().unwrap()]);
    body["prompt"] = json!("do it");
    let agent = client.start_with(&body).await;
    eventually("the prompt and Enter", async || {
        let lines = agent.logs("").await;
        let prompted = lines.iter().any(|line| line.contains("do it"));
        let entered = lines.iter().any(|line| line.contains("Enter came"));
        (prompted && entered).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_prompt_waits_for_a_program_that_starts_slowly_on_pty() {
    starts_slowly(&orchestrator("pty")).await;
}

#[tokio::test]
async fn a_prompt_waits_for_a_program_that_starts_slowly_on_tmux() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    starts_slowly(&backend.configure(program()).start()).await;
}

/// A program of which a rule knows the prompt, and which ends before it shows one the first time.
#[tokio::test]
async fn a_prompt_that_was_never_delivered_waits_for_the_next_start() {
    let server = orchestrator("pty");
    let program = server.work_dir().join("claude");
    let script = format!("#!/bin/sh\nmkdir twice 2>/dev/null && exit 0\n{READER}\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut body = server.new_session("demo", &[program.to_str().unwrap()]);
    body["prompt"] = json!("do it");
    let agent = server.start_with(&body).await;
    agent.ended().await;
    assert_eq!(
        shown(&server, &agent).await.prompt,
        Some(PromptState::Pending)
    );
    ask(&server, &agent, "restart").await;
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
    until(&server, &agent, PromptState::Delivered).await;
}

#[tokio::test]
async fn a_planned_restart_delivers_a_prompt_that_never_was() {
    let server = orchestrator("pty");
    let program = server.work_dir().join("claude");
    let script = format!("#!/bin/sh\nmkdir twice 2>/dev/null && exit 1\n{READER}\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut body = server.new_session("demo", &[program.to_str().unwrap()]);
    body["prompt"] = json!("do it");
    body["restart"] = json!("on-failure");
    let agent = server.start_with(&body).await;
    until(&server, &agent, PromptState::Delivered).await;
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
}

#[tokio::test]
async fn a_backend_that_takes_no_input_takes_no_prompt() {
    let server = orchestrator("fixture");
    let mut body = server.new_session("demo", &["run"]);
    body["prompt"] = json!("do it");
    server.create(&body).await.problem(409, "no-input");
    let list = server.get("/agents").await.expect(200).json();
    assert_eq!(list["total"], 0);
}

/// An agent without one has none, and one that cannot be started leaves nothing.
#[tokio::test]
async fn only_agents_with_a_prompt_show_what_became_of_it() {
    let server = orchestrator("pty");
    let agent = server.start("plain", &["cat"]).await;
    let shown = server.get(&agent.path).await.expect(200).json();
    assert!(shown.get("prompt").is_none(), "{shown}");
    let mut body = server.new_session("demo", &["cat"]);
    body["prompt"] = json!(["no", "text"]);
    server.create(&body).await.problem(400, "invalid-body");
}
