//! Recordings of agents: over restarts, through links, and on a full disk.

use agentd_host::testing::{DEADLINE, RunningProgram, TestClient, eventually, may_make_namespaces};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::disk::Disk;
use crate::orchestrator;
use crate::program::program;
use crate::tokens::{agent_of, with_token};

fn recorded(client: &TestClient, script: &str) -> Value {
    let mut body = client.new_session("demo", &["/bin/sh", "-c", script]);
    body["record"] = json!(true);
    body
}

#[tokio::test]
async fn each_run_of_an_agent_has_its_recording_until_the_agent_is_deleted() {
    let daemon = program().without_keeper().start();
    let agent = daemon
        .start_with(&recorded(&daemon, "echo run $$; exec cat"))
        .await;
    let mut outputs = Vec::new();
    for _ in 0..3 {
        agent.terminal("").await.shows("run").await;
        let cast = agent.recording("").await;
        assert!(cast.output().starts_with("run "), "{cast:?}");
        outputs.push(cast.output());
        let restart = format!("{}/restart", agent.path);
        daemon.post(&restart, &json!({})).await.expect(200);
    }
    let previous = agent.recording("?session=previous").await;
    assert_eq!(previous.output(), outputs[2]);
    assert_eq!(previous.events.last().unwrap().1, "x");
    let sessions = format!("{}/sessions", agent.path);
    let sessions = daemon.get(&sessions).await.expect(200).json();
    let first = sessions["items"][0]["id"].as_str().unwrap();
    let first = agent.recording(&format!("?session={first}")).await;
    assert_eq!(first.output(), outputs[0]);
    let other = format!("{}/recording?session=../../x", agent.path);
    daemon.get(&other).await.problem(404, "not-found");

    let place = daemon.state_dir().join("recordings/agentd-orchestrator");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
    agent.delete().await;
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
}

/// Fault: the service is killed before it has removed the recordings of an agent that was deleted. Then: the next one
/// does, and keeps the others.
#[tokio::test]
async fn recordings_without_an_agent_are_removed_at_the_start() {
    let daemon = program().without_keeper().start();
    let agent = daemon.start_with(&recorded(&daemon, "echo hello")).await;
    agent.ended().await;
    let before = agent.recording("").await;
    let place = daemon.state_dir().join("recordings/agentd-orchestrator");
    let gone = place.join(uuid());
    std::fs::create_dir(&gone).unwrap();
    let daemon = again(daemon).await;
    assert!(!gone.exists());
    let id = agent.path.rsplit('/').next().unwrap();
    let after = daemon.session(id).recording("").await;
    assert_eq!(after.events, before.events);
    assert_eq!(
        daemon.session(id).show().await.recording.unwrap().reason,
        None
    );
}

fn uuid() -> String {
    "00000000-0000-4000-8000-000000000000".to_owned()
}

async fn again(mut daemon: RunningProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    program().without_keeper().start_after(daemon)
}

#[tokio::test]
async fn who_may_only_look_may_have_the_recording() {
    let server = orchestrator("pty");
    let agent = server
        .start_with(&recorded(&server, "echo hello; exec cat"))
        .await;
    agent.terminal("").await.shows("hello").await;
    let other = server.start("other", &["cat"]).await;
    let links = format!("{}/links", agent.path);
    let made = server.post(&links, &json!({})).await.expect(201).json();
    let (_, token) = made["url"].as_str().unwrap().split_once("#link=").unwrap();
    let guest = with_token(&server, token);
    let cast = agent_of(&guest, &agent).recording("").await;
    assert_eq!(cast.output(), "hello\r\n");
    let of_other = format!("{}/recording", other.path);
    guest.get(&of_other).await.problem(403, "scope");
    server.get(&of_other).await.problem(404, "not-found");
    let without = server.get(&of_other).without_token().await;
    without.problem(401, "unauthorized");
}

/// Fault: the disk of the recordings is full. Then: the recording ends with the reason, which is an event, and can be
/// read up to there; the agent goes on.
#[tokio::test]
async fn a_full_disk_ends_the_recording_and_nothing_else() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let place = disk.state_dir().join("recordings");
    let daemon = program()
        .without_keeper()
        .env("AGENTD_RECORD_DIR", &place)
        .start();
    let script = "stty -echo; echo hello; while read x; do seq 1 3000; echo done $x; done";
    let agent = daemon.script("demo", script).await;
    let mut terminal = agent.terminal("").await;
    terminal.shows("hello").await;
    assert_eq!(agent.recording("").await.output(), "hello\r\n");
    let mut events = daemon.get("/events").stream().await;
    disk.fill();
    for round in 0..3 {
        terminal.type_keys(format!("{round}\n")).await;
        terminal.shows(&format!("done {round}")).await;
    }

    let recording = agent.until("that it has ended", |session| {
        session
            .recording
            .as_ref()
            .is_some_and(|it| it.reason.is_some())
    });
    let recording = recording.await.recording.unwrap();
    assert_eq!(recording.reason.as_deref(), Some("the disk is full"));
    let mut heard = String::new();
    while !heard.contains("event:recording_ended") {
        let piece = timeout(DEADLINE, events.chunk()).await.unwrap().unwrap();
        heard += std::str::from_utf8(&piece.unwrap()).unwrap();
    }
    let cast = agent.recording("").await;
    assert!(cast.output().starts_with("hello\r\n"));
    assert_eq!(cast.all("x"), [""; 0]);
    eventually("the same of its record", async || {
        let shown = daemon.get(&agent.path).await.expect(200).json();
        (shown["session"]["recording"]["reason"] == "the disk is full").then_some(())
    })
    .await;
    terminal.type_keys("3\n").await;
    terminal.shows("done 3").await;
}

/// Fault: the disk of the recordings is full, and the service is killed. Then: the next one goes on with what could
/// not be written.
#[tokio::test]
async fn what_a_full_disk_did_not_take_is_recorded_by_the_next_service() {
    if !may_make_namespaces() {
        return;
    }
    let disk = Disk::mounted();
    let place = disk.state_dir().join("recordings");
    let service = || {
        program()
            .env("AGENTD_KEEPER", "on")
            .env("AGENTD_RECORD_DIR", &place)
    };
    let mut daemon = service().start();
    let script = "stty -echo; echo hello; while read x; do seq 1 3000; echo done $x; done";
    let agent = daemon.script("demo", script).await;
    let mut terminal = agent.terminal("").await;
    terminal.shows("hello").await;
    assert_eq!(agent.recording("").await.output(), "hello\r\n");
    disk.fill();
    for round in 0..3 {
        terminal.type_keys(format!("{round}\n")).await;
        terminal.shows(&format!("done {round}")).await;
    }
    let has_ended = |session: &agentd_api::Session| {
        let recording = session.recording.as_ref();
        recording.is_some_and(|it| it.reason.is_some())
    };
    agent.until("that its recording has ended", has_ended).await;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    disk.free();

    let id = agent.path.rsplit('/').next().unwrap().to_owned();
    let daemon = service().start_after(daemon);
    let agent = daemon.session(&id);
    agent.prompt("3").await.expect(202);
    agent.terminal("").await.shows("done 3").await;
    let cast = agent.recording("").await;
    let rounds = (0..4).map(|round| format!("done {round}\r\n"));
    let numbers: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
    let all: String = rounds.map(|done| numbers.clone() + &done).collect();
    assert_eq!(cast.output(), format!("hello\r\n{all}"));
    let markers = cast.all("m").concat();
    assert!(!markers.contains("left out"), "{markers}");
}
