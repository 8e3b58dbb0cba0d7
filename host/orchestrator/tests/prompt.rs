//! The prompt that an agent is created with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use agentd_api::{ActivityState, Agent, PromptState};
use agentd_host::testing::{
    TestBackend, TestClient, TestServer, TestSession, eventually, leave_out,
};
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

/// Has the script run under a name of which a rule knows the prompt, with a prompt.
pub async fn start_known(client: &TestClient, script: &str, restart: &str) -> TestSession {
    let program = client.work_dir().join("claude");
    fs::write(&program, format!("#!/bin/sh\n{script}\n{READER}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut body = client.new_session("demo", &[program.to_str().unwrap()]);
    body["prompt"] = json!("do it");
    body["restart"] = json!(restart);
    client.start_with(&body).await
}

/// Asks what a person has to answer.
pub const QUESTION: &str = "printf 'Do you trust this folder?\\r\\n❯ 1. Yes\\r\\n  2. No\\r\\n'";

/// Takes that away, and shows that it reads keys.
pub const AT_PROMPT: &str = "printf '\\033[2J\\033[H❯ \\r\\n? for shortcuts\\r\\n'";

pub async fn until_it_asks(client: &TestClient, agent: &TestSession) {
    eventually("its question", async || {
        let session = shown(client, agent).await.session?;
        (session.activity?.state == ActivityState::Waiting).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_prompt_is_no_answer_to_a_question() {
    let server = orchestrator("pty");
    let script = format!("{QUESTION}; read -r answer; {AT_PROMPT}; echo \"answered: $answer\"");
    let agent = start_known(&server, &script, "never").await;
    until_it_asks(&server, &agent).await;
    let prompt = shown(&server, &agent).await.prompt;
    assert_eq!(prompt, Some(PromptState::Pending));
    agent.prompt("1").await.expect(202);
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
    let lines = agent.logs("").await;
    assert!(
        lines.iter().any(|line| line.contains("answered: 1")),
        "{lines:?}"
    );
    until(&server, &agent, PromptState::Delivered).await;
}

/// The first time it asks something, and reads keys only while it is being ended, and not for long.
async fn ended_while_it_asks() -> (TestServer, TestSession) {
    let server = orchestrator("pty");
    let script = format!(
        "if mkdir twice 2>/dev/null; then
            trap : HUP INT TERM
            {QUESTION}
            sleep 1000 & wait
            {AT_PROMPT}
            exec sleep 3
        fi"
    );
    let agent = start_known(&server, &script, "never").await;
    until_it_asks(&server, &agent).await;
    (server, agent)
}

#[tokio::test]
async fn a_prompt_is_not_typed_into_a_program_that_is_stopped() {
    let (server, agent) = ended_while_it_asks().await;
    ask(&server, &agent, "stop").await;
    let prompt = shown(&server, &agent).await.prompt;
    assert_eq!(prompt, Some(PromptState::Pending));
    ask(&server, &agent, "restart").await;
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
    until(&server, &agent, PromptState::Delivered).await;
}

#[tokio::test]
async fn a_prompt_is_not_typed_into_a_program_that_is_restarted() {
    let (server, agent) = ended_while_it_asks().await;
    ask(&server, &agent, "restart").await;
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
    until(&server, &agent, PromptState::Delivered).await;
    agent.delete().await;
}

/// A program of which a rule knows the prompt, and which ends before it shows one the first time.
#[tokio::test]
async fn a_prompt_that_was_never_delivered_waits_for_the_next_start() {
    let server = orchestrator("pty");
    let script = "mkdir twice 2>/dev/null && exit 0";
    let agent = start_known(&server, script, "never").await;
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
    let script = "mkdir twice 2>/dev/null && exit 1";
    let agent = start_known(&server, script, "on-failure").await;
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
