//! A prompt at the start when something fails, ends or goes away just then.

use std::fs;

use agentd_api::{AgentStatus, PromptState, State};
use agentd_host::testing::{
    RunningProgram, TestBackend, TestClient, TestProgram, TestSession, eventually, leave_out,
    may_make_namespaces,
};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use warp::http::Method;

use crate::disk::Disk;
use crate::leaving::{begin, calls, leave, let_go, until_held};
use crate::orchestrator;
use crate::program::{crashing_program, program};
use crate::prompt::{
    AT_PROMPT, QUESTION, has_read, prompted, shown, start_known, until, until_it_asks,
};
use crate::reconcile::on;

/// What the backend `held` is called for, for a prompt.
const TYPED: [&str; 4] = [
    "begun write \"do it\"",
    "done write \"do it\"",
    "begun write \"\\r\"",
    "done write \"\\r\"",
];

/// One that waits with a question, and has its prompt once that is answered.
async fn asks(client: &TestClient) -> TestSession {
    let script = format!("{QUESTION}; read -r answer; {AT_PROMPT}");
    let agent = start_known(client, &script, "never").await;
    until_it_asks(client, &agent).await;
    agent
}

async fn until_logged(daemon: &RunningProgram, words: &str) {
    eventually(words, async || daemon.log().contains(words).then_some(())).await;
}

/// It is told what to do once, and not again when it starts again.
async fn is_told_once(client: &TestClient, agent: &TestSession) {
    assert_eq!(has_read(agent, "do it").await, ["do it"]);
    until(client, agent, PromptState::Delivered).await;
    agent.prompt("and then this").await.expect(202);
    let read = has_read(agent, "and then this").await;
    assert_eq!(read, ["do it", "and then this"]);
}

async fn kill(daemon: &mut RunningProgram) {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
}

async fn end(mut daemon: RunningProgram, next: TestProgram) -> RunningProgram {
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    next.start_after(daemon)
}

async fn restart(client: &TestClient, agent: &TestSession) {
    let restart = format!("{}/restart", agent.path);
    client.request(Method::POST, &restart).await.expect(200);
}

/// Fault: the disk is full when a prompt is due. Then: it waits for room, and is typed once.
#[tokio::test]
async fn a_prompt_waits_for_room_on_the_disk() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let daemon = disk.start();
    let agent = asks(&daemon).await;
    disk.fill();
    agent.prompt("1").await.expect(202);
    until_logged(&daemon, "its prompt waits").await;
    let prompt = shown(&daemon, &agent).await.prompt;
    assert_eq!(prompt, Some(PromptState::Pending));
    assert!(!agent.logs("").await.join("\n").contains("do it"));
    disk.free();
    is_told_once(&daemon, &agent).await;
}

/// Fault: the disk does not confirm that a prompt is noted as delivered. Then: it is typed once the disk does, and once.
#[tokio::test]
async fn a_prompt_waits_until_the_disk_has_it_as_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let fails = directory.path().join("fails");
    let failing = format!("DiskFails=return({})", fails.display());
    let program = || crashing_program().env("AGENTD_KEEPER", "on");
    let mut daemon = program().env("FAILPOINTS", failing).start();
    let agent = asks(&daemon).await;
    fs::write(&fails, "").unwrap();
    agent.prompt("1").await.expect(202);
    until_logged(&daemon, "its prompt waits").await;
    assert!(!agent.logs("").await.join("\n").contains("do it"));
    fs::remove_file(&fails).unwrap();
    is_told_once(&daemon, &agent).await;
    kill(&mut daemon).await;
    let daemon = program().start_after(daemon);
    let agent = daemon.session(agent.path.rsplit('/').next().unwrap());
    agent.prompt("last").await.expect(202);
    let read = has_read(&agent, "last").await;
    assert_eq!(read, ["do it", "and then this", "last"]);
    agent.delete().await;
}

/// Fault: the program ends before the disk confirms that its prompt is noted as delivered. Then: it has failed, and is not
/// typed into the next one.
#[tokio::test]
async fn a_prompt_has_failed_whose_program_ends_before_the_disk_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let fails = directory.path().join("fails");
    let failing = format!("DiskFails=return({})", fails.display());
    let daemon = crashing_program().env("FAILPOINTS", failing).start();
    let agent = asks(&daemon).await;
    fs::write(&fails, "").unwrap();
    agent.prompt("1").await.expect(202);
    until_logged(&daemon, "its prompt waits").await;
    let pid = agent.show().await.pid.unwrap().cast_signed();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(agent.ended().await.signal, Some(9));
    fs::remove_file(&fails).unwrap();
    until(&daemon, &agent, PromptState::Failed).await;
    restart(&daemon, &agent).await;
    // It asks again.
    agent.prompt("1").await.expect(202);
    agent.prompt("again").await.expect(202);
    assert_eq!(has_read(&agent, "again").await, ["again"]);
}

/// Takes what is typed for it, and shows nothing before Enter, for which it is waited.
const SILENT: &str = "stty -echo; echo ready; read -r line; echo \"read: $line\"; exec sleep 1000";

/// The service ends while the prompt is typed, and its agents with it.
async fn ends_while_it_types(daemon: RunningProgram, next: TestProgram) {
    let body = prompted(&daemon, "demo", SILENT, "do it");
    let agent = daemon.start_with(&body).await;
    until(&daemon, &agent, PromptState::Delivered).await;
    let daemon = end(daemon, next).await;
    let agent = daemon.session(agent.path.rsplit('/').next().unwrap());
    let ended = shown(&daemon, &agent).await;
    assert_eq!(ended.status, AgentStatus::Stopped);
    assert_eq!(ended.prompt, Some(PromptState::Failed));
    restart(&daemon, &agent).await;
    agent.prompt("again").await.expect(202);
    assert_eq!(has_read(&agent, "again").await, ["again"]);
    agent.delete().await;
}

/// Fault: the service is asked to end while a prompt is typed. Then: it has failed, and is not typed again.
#[tokio::test]
async fn a_prompt_that_the_end_of_the_service_cuts_off_has_failed_on_pty() {
    ends_while_it_types(program().start(), program()).await;
}

#[tokio::test]
async fn a_prompt_that_the_end_of_the_service_cuts_off_has_failed_on_tmux() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let daemon = backend.configure(program()).start();
    ends_while_it_types(daemon, backend.configure(program())).await;
}

/// Fault: the backend does not answer while a prompt is typed, and the service ends. Then: it has failed.
#[tokio::test]
async fn a_prompt_that_a_backend_never_takes_has_failed_when_the_service_ends() {
    for held in ["write \"do it\"", "write \"\\r\""] {
        let daemon = on(program(), "held").start();
        let body = prompted(&daemon, "demo", "run", "do it");
        fs::write(daemon.work_dir().join("held"), held).unwrap();
        let agent = daemon.start_with(&body).await;
        until_held(&daemon, held).await;
        let daemon = end(daemon, on(program(), "held")).await;
        let agent = daemon.session(agent.path.rsplit('/').next().unwrap());
        let ended = shown(&daemon, &agent).await;
        assert_eq!(ended.prompt, Some(PromptState::Failed), "{held}");
    }
}

/// The service ends while the prompt is typed, and leaves its agents running.
async fn leaves_while_it_types(daemon: RunningProgram, next: TestProgram) {
    let body = prompted(&daemon, "demo", SILENT, "do it");
    let agent = daemon.start_with(&body).await;
    until(&daemon, &agent, PromptState::Delivered).await;
    let daemon = end(daemon, next).await;
    let agent = daemon.session(agent.path.rsplit('/').next().unwrap());
    assert_eq!(has_read(&agent, "do it").await, ["do it"]);
    let left = shown(&daemon, &agent).await;
    assert_eq!(left.status, AgentStatus::Running);
    assert_eq!(left.prompt, Some(PromptState::Delivered));
    agent.delete().await;
}

/// Fault: a service that leaves its agents running is asked to end while a prompt is typed. Then: it is typed to its end.
#[tokio::test]
async fn a_service_that_leaves_its_agents_types_a_prompt_to_its_end_with_a_keeper() {
    let leaving = || {
        TestBackend::kept()
            .configure(program())
            .env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "true")
    };
    leaves_while_it_types(leaving().start(), leaving()).await;
}

#[tokio::test]
async fn a_service_that_leaves_its_agents_types_a_prompt_to_its_end_on_tmux() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let leaving = || {
        backend
            .configure(program())
            .env("AGENTD_SHUTDOWN_LEAVE_RUNNING", "true")
    };
    leaves_while_it_types(leaving().start(), leaving()).await;
}

/// Fault: the backend cannot be reached when a prompt is due. Then: it waits, and is typed once.
#[tokio::test]
async fn a_prompt_waits_for_a_backend_that_cannot_be_reached() {
    let server = orchestrator("held");
    let unreachable = server.work_dir().join("unreachable");
    fs::write(&unreachable, "").unwrap();
    let agent = server
        .start_with(&prompted(&server, "demo", "run", "do it"))
        .await;
    agent
        .until("it is out of reach", |it| it.state == State::Unknown)
        .await;
    let waits = shown(&server, &agent).await;
    assert_eq!(waits.prompt, Some(PromptState::Pending));
    assert_eq!(waits.status, AgentStatus::Running);
    // It goes again while it is looked whether the program reads keys.
    fs::remove_file(&unreachable).unwrap();
    agent
        .until("it is there", |it| it.state == State::Running)
        .await;
    fs::write(&unreachable, "").unwrap();
    agent
        .until("it is out of reach", |it| it.state == State::Unknown)
        .await;
    assert_eq!(calls(&server), [""; 0]);
    fs::remove_file(&unreachable).unwrap();
    until(&server, &agent, PromptState::Delivered).await;
    eventually("all of it is typed", async || {
        (calls(&server) == TYPED).then_some(())
    })
    .await;
}

/// What the events say of the prompt, oldest first.
async fn told(client: &TestClient) -> Vec<Value> {
    let mut events = client
        .get("/events")
        .header("last-event-id", "0")
        .stream()
        .await;
    let mut text = String::new();
    let prompts = eventually("the failure", async || {
        let piece = events.chunk().await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&piece));
        // The last line may have come in part.
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let agents = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let mut prompts: Vec<Value> = agents.map(|it| it["agent"]["prompt"].clone()).collect();
        prompts.retain(|prompt| !prompt.is_null());
        prompts.dedup();
        let has_failed = prompts.last().is_some_and(|last| last == "failed");
        has_failed.then_some(prompts)
    })
    .await;
    assert!(!text.contains("do it"), "{text}");
    prompts
}

/// Fault: the backend takes only some of a prompt. Then: it has failed, which is shown, and it is not typed again.
#[tokio::test]
async fn a_prompt_of_which_only_some_is_typed_has_failed() {
    for (fails, typed) in [("write \"do it\"", 1), ("write \"\\r\"", 3)] {
        let server = orchestrator("held");
        fs::write(server.work_dir().join("fails"), fails).unwrap();
        let agent = server
            .start_with(&prompted(&server, "demo", "run", "do it"))
            .await;
        let failed = until(&server, &agent, PromptState::Failed).await;
        assert_eq!(failed.status, AgentStatus::Running);
        assert_eq!(calls(&server), TYPED[..typed]);
        assert_eq!(told(&server).await, ["pending", "delivered", "failed"]);
        fs::remove_file(server.work_dir().join("fails")).unwrap();
        restart(&server, &agent).await;
        let again = shown(&server, &agent).await;
        assert_eq!(again.prompt, Some(PromptState::Failed));
        agent.prompt("again").await.expect(202);
        let written = calls(&server);
        assert!(written[typed].contains("again"), "{written:?}");
    }
}

/// How many prompts are on the disk.
fn kept(daemon: &RunningProgram) -> i64 {
    let database = Connection::open(daemon.state_dir().join("orchestrator.db")).unwrap();
    let count = "SELECT count(*) FROM prompts";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

/// Fault: an agent is deleted while its prompt waits. Then: it is never typed, and goes from the disk with it.
#[tokio::test]
async fn a_prompt_that_waits_goes_with_its_agent() {
    let mut daemon = program().start();
    let agent = asks(&daemon).await;
    agent.delete().await;
    let others = asks(&daemon).await;
    kill(&mut daemon).await;
    assert_eq!(kept(&daemon), 1, "that of {others:?}");
    let mut daemon = program().start_after(daemon);
    daemon
        .session(others.path.rsplit('/').next().unwrap())
        .delete()
        .await;
    kill(&mut daemon).await;
    assert_eq!(kept(&daemon), 0);
}

/// Fault: an agent is deleted while its prompt is typed, and its backend does not answer. Then: it is gone, and nothing is
/// typed any more.
#[tokio::test]
async fn an_agent_can_be_deleted_while_its_prompt_is_typed() {
    let daemon = on(program(), "held").start();
    let held = "write \"do it\"";
    fs::write(daemon.work_dir().join("held"), held).unwrap();
    let body = prompted(&daemon, "demo", "run", "do it");
    let agent = daemon.start_with(&body).await;
    until_held(&daemon, held).await;
    agent.delete().await;
    daemon.get(&agent.path).await.problem(404, "not-found");
    until_logged(&daemon, "its prompt was not typed").await;
    fs::write(daemon.work_dir().join("held"), "nothing").unwrap();
    // Another one of that name has its own.
    let agent = daemon.start_with(&body).await;
    until(&daemon, &agent, PromptState::Delivered).await;
    let expected = [&TYPED[..1], &TYPED[..]].concat();
    eventually("only its own is typed", async || {
        (calls(&daemon) == expected).then_some(())
    })
    .await;
}

/// Fault: the client leaves during the start of an agent with a prompt. Then: nothing is left, and nothing is typed.
#[tokio::test]
async fn a_client_that_leaves_while_it_creates_leaves_no_prompt() {
    let server = orchestrator("held");
    fs::write(server.work_dir().join("held"), "start").unwrap();
    let body = prompted(&server, "demo", "run", "do it");
    let stream = begin(&server, "/agents", &body).await;
    until_held(&server, "start").await;
    leave(&server, stream).await;
    eventually("nothing is left", async || {
        let list = server.get("/agents").await.expect(200).json();
        (list["total"] == 0).then_some(())
    })
    .await;
    assert_eq!(calls(&server), ["begun start"]);
}

/// Fault: the client leaves during the start, and comes back with its key. Then: one agent, prompted once.
#[tokio::test]
async fn a_client_that_leaves_while_it_creates_with_a_key_finds_its_agent_prompted_once() {
    let server = orchestrator("held");
    fs::write(server.work_dir().join("held"), "start").unwrap();
    let body = prompted(&server, "demo", "run", "do it");
    let create = || {
        server
            .post("/agents", &body)
            .header("idempotency-key", "once")
    };
    let first = tokio::spawn(create().unless_cut());
    until_held(&server, "start").await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let again = tokio::spawn(create().unless_cut());
    let expected = [&["begun start", "done start"], &TYPED[..]].concat();
    let_go(&server, &expected).await;
    let created = again.await.unwrap().unwrap().expect(201).json();
    assert_eq!(create().await.expect(201).json(), created);
    let list = server.get("/agents").await.expect(200).json();
    assert_eq!(
        (&list["total"], &list["items"][0]["id"]),
        (&json!(1), &created["id"])
    );
    assert_eq!(calls(&server), expected);
}
