//! What is wanted of agents is brought about, whatever failed and whatever the backend has.

use std::fs;
use std::path::PathBuf;

use agentd_api::{Agent, AgentStatus, Reconciliation, ServiceHealth, State};
use agentd_host::testing::{RunningProgram, TestProgram, eventually, example_libraries, libraries};
use rustix::process::Signal;
use serde_json::json;
use warp::http::Method;

use crate::program::program;

/// The program with a backend whose sessions are files in the state directory.
pub fn kept() -> TestProgram {
    on(program(), "kept")
}

/// The program with a backend for tests, which repairs soon what is wrong.
pub fn on(program: TestProgram, backend: &str) -> TestProgram {
    let (bundled, examples) = (libraries(), example_libraries());
    let plugins = format!("{}:{}", bundled.display(), examples.display());
    program
        .env("AGENTD_BACKEND", backend)
        .env("AGENTD_PLUGIN_DIR", plugins)
        .env("AGENTD_RECONCILE_INTERVAL_SECS", "1")
        .env("AGENTD_UNOWNED_GRACE_SECS", "1")
}

/// Where the sessions are.
pub fn folder(daemon: &RunningProgram) -> PathBuf {
    daemon.state_dir().join("kept")
}

/// Says that something fails from now on, or no longer.
pub fn fails(daemon: &RunningProgram, what: &str, fails: bool) {
    let file = folder(daemon).join(what);
    match fails {
        true => fs::write(file, "").unwrap(),
        false => fs::remove_file(file).unwrap(),
    }
}

/// The ids of the sessions that the backend has.
pub fn sessions(daemon: &RunningProgram) -> Vec<String> {
    let files = fs::read_dir(folder(daemon)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.len() == 36).collect()
}

pub async fn create(daemon: &RunningProgram, name: &str) -> Agent {
    let body = daemon.new_session(name, &["none"]);
    daemon.create(&body).await.expect(201).parse()
}

pub async fn shown(daemon: &RunningProgram, id: &str) -> Agent {
    daemon
        .get(&format!("/agents/{id}"))
        .await
        .expect(200)
        .parse()
}

pub async fn until(
    daemon: &RunningProgram,
    id: &str,
    what: &str,
    is: impl Fn(&Agent) -> bool,
) -> Agent {
    eventually(what, async || {
        Some(shown(daemon, id).await).filter(|agent| is(agent))
    })
    .await
}

pub async fn reconciliation(daemon: &RunningProgram) -> Reconciliation {
    let health: ServiceHealth = daemon.get("/health?verbose=1").await.expect(200).parse();
    health.reconcile.unwrap()
}

/// Waits for a run that came to this.
pub async fn run_with(
    daemon: &RunningProgram,
    what: &str,
    is: impl Fn(&Reconciliation) -> bool,
) -> Reconciliation {
    eventually(what, async || {
        Some(reconciliation(daemon).await).filter(|run| is(run))
    })
    .await
}

async fn killed(mut daemon: RunningProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    daemon
}

#[tokio::test]
async fn an_end_that_fails_at_the_start_is_tried_again_until_it_is_done() {
    let daemon = kept().start();
    let stopped = create(&daemon, "stopped").await;
    let running = create(&daemon, "running").await;
    fails(&daemon, "stays", true);
    let stop = format!("/agents/{}/stop", stopped.id);
    daemon
        .request(Method::POST, &stop)
        .await
        .problem(500, "backend-failed");
    let daemon = kept().start_after(killed(daemon).await);
    let failed = run_with(&daemon, "the end that fails", |run| {
        run.counts.contains_key("failed")
    })
    .await;
    let mut failures = failed.actions.iter().filter(|a| a.action == "failed");
    assert_eq!(failures.next().unwrap().agent.as_ref(), Some(&stopped.id));
    let agent = shown(&daemon, &stopped.id).await;
    assert_eq!(agent.status, AgentStatus::Running);
    fails(&daemon, "stays", false);
    until(&daemon, &stopped.id, "the end", |agent| {
        agent.status == AgentStatus::Stopped
    })
    .await;
    assert_eq!(sessions(&daemon).len(), 1);
    let running = shown(&daemon, &running.id).await;
    assert_eq!(running.status, AgentStatus::Running);
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_short_is_finished() {
    let daemon = kept().start();
    let deleted = create(&daemon, "deleted").await;
    let daemon = killed(daemon).await;
    let database = daemon.state_dir().join("orchestrator.db");
    let wish = "UPDATE agents SET wish = 'deleted'";
    let database = rusqlite::Connection::open(database).unwrap();
    assert_eq!(database.execute(wish, []).unwrap(), 1);
    drop(database);
    let daemon = kept().start_after(daemon);
    eventually("the end of the agent", async || {
        let answer = daemon.get(&format!("/agents/{}", deleted.id)).await;
        (answer.status == 404).then_some(())
    })
    .await;
    assert_eq!(sessions(&daemon), [""; 0]);
    create(&daemon, "deleted").await;
}

#[tokio::test]
async fn a_session_that_belongs_to_no_agent_is_ended_after_a_grace() {
    let daemon = kept().env("AGENTD_UNOWNED_GRACE_SECS", "3").start();
    let agent = create(&daemon, "demo").await;
    let mine = sessions(&daemon).remove(0);
    let label = fs::read_to_string(folder(&daemon).join(&mine)).unwrap();
    let owners = [
        uuid::Uuid::new_v4().to_string(),
        // A second session of the agent, and a label that cannot be read.
        agent.id.clone(),
        "\"".to_owned(),
    ];
    for owner in owners {
        let label = label.replace(&agent.id, &owner);
        let id = uuid::Uuid::new_v4().to_string();
        fs::write(folder(&daemon).join(id), label).unwrap();
    }
    let looked = reconciliation(&daemon).await.at;
    run_with(&daemon, "the next run but one", |run| run.at > looked).await;
    assert_eq!(sessions(&daemon).len(), 4);
    eventually("the end of what belongs to nobody", async || {
        (sessions(&daemon) == [mine.clone()]).then_some(())
    })
    .await;
    assert_eq!(daemon.get("/agents").await.json()["total"], 1);
    let agent = shown(&daemon, &agent.id).await;
    assert_eq!(agent.status, AgentStatus::Running);
}

#[tokio::test]
async fn agents_of_a_state_that_was_lost_are_agents_again() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = killed(daemon).await;
    for file in [
        "orchestrator.db",
        "orchestrator.db-wal",
        "orchestrator.db-shm",
    ] {
        let _ = fs::remove_file(daemon.state_dir().join(file));
    }
    let daemon = kept().start_after(daemon);
    let found = shown(&daemon, &agent.id).await;
    assert_eq!(
        (found.name, found.status),
        (agent.name, AgentStatus::Running)
    );
}

/// Fault: somebody else removes a session. Then: its agent is lost.
#[tokio::test]
async fn a_session_that_somebody_else_has_removed_is_lost() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    fs::remove_file(folder(&daemon).join(sessions(&daemon).remove(0))).unwrap();
    let lost = until(&daemon, &agent.id, "the loss", |agent| {
        agent.status == AgentStatus::Lost
    })
    .await;
    let reason = lost.session.unwrap().exit.unwrap().reason.unwrap();
    assert_eq!(reason, "the backend does not have it any more");
    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .expect(204);
}

#[tokio::test]
async fn what_ended_while_the_service_was_away_has_its_exit() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = killed(daemon).await;
    let exit = format!("{}.exit", sessions(&daemon).remove(0));
    fs::write(folder(&daemon).join(exit), "7").unwrap();
    let daemon = kept().start_after(daemon);
    let failed = until(&daemon, &agent.id, "the exit", |agent| {
        agent.status == AgentStatus::Failed
    })
    .await;
    assert_eq!(failed.session.unwrap().exit.unwrap().code, Some(7));
}

/// Fault: the backend cannot be reached. Then: no agent is ended or called lost.
#[tokio::test]
async fn nothing_is_ended_or_lost_while_the_backend_cannot_be_reached() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = killed(daemon).await;
    fails(&daemon, "unreachable", true);
    let stray = uuid::Uuid::new_v4().to_string();
    fs::write(folder(&daemon).join(&stray), "").unwrap();
    let daemon = kept()
        .env("AGENTD_UNOWNED_GRACE_SECS", "0")
        .start_after(daemon);
    let looked = reconciliation(&daemon).await.at;
    let run = run_with(&daemon, "the next run", |run| run.at > looked).await;
    assert!(run.error.unwrap().contains("out of reach"));
    let ready = async || daemon.get("/readyz").without_token().await;
    ready().await.problem(503, "backend-unavailable");
    daemon.get("/livez").without_token().await.expect(200);
    let unknown = shown(&daemon, &agent.id).await;
    assert_eq!(unknown.status, AgentStatus::Running);
    let session = unknown.session.unwrap();
    assert_eq!(session.state, State::Unknown);
    assert_eq!(sessions(&daemon).len(), 2);
    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .problem(503, "backend-unavailable");
    create(&daemon, "another").await;
    fails(&daemon, "unreachable", false);
    eventually("the service is ready", async || {
        (ready().await.status == 200).then_some(())
    })
    .await;
    // The deletion was refused, and the wish to end it stays.
    until(&daemon, &agent.id, "the end", |agent| {
        agent.status == AgentStatus::Stopped
    })
    .await;
    eventually("the end of what belongs to nobody", async || {
        (sessions(&daemon).len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_of_another_backend_is_left_alone() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = on(program(), "pty").start_after(killed(daemon).await);
    let unknown = shown(&daemon, &agent.id).await;
    assert_eq!(unknown.status, AgentStatus::Running);
    let session = unknown.session.unwrap();
    assert_eq!(session.state, State::Unknown);
    assert!(session.progress.unwrap().contains("backend `kept`"));
    let daemon = kept().start_after(killed(daemon).await);
    let agent = shown(&daemon, &agent.id).await;
    assert_eq!(agent.status, AgentStatus::Running);
    assert_eq!(agent.session.unwrap().state, State::Running);
}

#[tokio::test]
async fn agents_that_come_and_go_are_not_touched() {
    let daemon = kept().env("AGENTD_UNOWNED_GRACE_SECS", "0").start();
    let looked = reconciliation(&daemon).await.at;
    let mut rounds = 0;
    let last = loop {
        let agent = create(&daemon, "demo").await;
        let restart = format!("/agents/{}/restart", agent.id);
        daemon.request(Method::POST, &restart).await.expect(200);
        daemon
            .delete(&format!("/agents/{}", agent.id))
            .await
            .expect(204);
        rounds += 1;
        let run = reconciliation(&daemon).await;
        if rounds > 50 && run.at > looked {
            break run;
        }
    };
    assert_eq!(last.counts, [].into());
    assert_eq!(daemon.get("/agents").await.json()["total"], 0);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[tokio::test]
async fn the_last_run_is_shown_and_its_agents_only_to_those_with_the_token() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let interval = ("AGENTD_RECONCILE_INTERVAL_SECS", "86400");
    let daemon = kept()
        .env(interval.0, interval.1)
        .start_after(killed(daemon).await);
    let run = reconciliation(&daemon).await;
    assert_eq!(run.counts, [("adopted".to_owned(), 1)].into());
    assert_eq!(run.actions[0].agent.as_ref(), Some(&agent.id));
    let plain = daemon.get("/health").await.expect(200).json();
    assert_eq!(plain.get("reconcile"), None);
    let open = daemon.get("/health?verbose=1").without_token().await;
    let open = open.expect(200).json();
    assert_eq!(open["reconcile"].get("actions"), None);
    assert_eq!(open["reconcile"]["at"], run.at);
    assert_eq!(open["reconcile"]["counts"], json!({"adopted": 1}));
    let zero = kept().env(interval.0, "0").ends().await;
    assert_eq!(zero.code, Some(78), "{}", zero.stderr);
}

#[tokio::test]
async fn a_session_has_not_ended_where_the_service_ends_while_it_takes_it_over() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    fails(&daemon, "silent", true);
    let mut starting = kept().spawn_after(killed(daemon).await);
    let asked = starting.state_dir().join("kept/asked");
    eventually("the call of the backend", async || {
        asked.exists().then_some(())
    })
    .await;
    starting.signal(Signal::TERM);
    assert_eq!(starting.ended().await.code(), Some(0), "{}", starting.log());
    fs::remove_file(starting.state_dir().join("kept/silent")).unwrap();
    let daemon = kept().start_after(starting);
    let adopted = shown(&daemon, &agent.id).await;
    assert_eq!(
        (adopted.status, adopted.history),
        (AgentStatus::Running, vec![])
    );
    assert_eq!(adopted.session.unwrap().state, State::Running);
}
