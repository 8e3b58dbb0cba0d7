//! A service that is upgraded, and one under which the engine of its agents is.

#[path = "../../../plugins/docker/tests/docker/front.rs"]
mod front;

use std::fs;
use std::path::Path;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{DockerEngine, RunningProgram, TestBackend, leave_out};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use warp::http::Method;

use crate::program::program;
use crate::reconcile::{shown, until};
use front::{Front, NEW, OLD, Version};

async fn create(daemon: &RunningProgram, name: &str, restart: &str) -> Agent {
    let mut body = daemon.new_session(name, &["sleep", "600"]);
    body["restart"] = json!(restart);
    let agent: Agent = daemon.create(&body).await.expect(201).parse();
    until(daemon, &agent.id, "its start", |agent| {
        agent.status == AgentStatus::Running
    })
    .await
}

/// Waits until it is not known how those are, and no more is said of them.
async fn unknown(daemon: &RunningProgram, agents: &[&Agent]) {
    for agent in agents {
        until(daemon, &agent.id, "the engine's absence", |agent| {
            let session = agent.session.as_ref();
            session.is_some_and(|session| session.state == State::Unknown)
        })
        .await;
    }
}

fn upgrade(engine: &DockerEngine, front: &Front, version: Version) {
    front.become_version(version);
    engine.begin();
}

/// The database of the first version that had one, with an agent that runs no more.
fn first_database(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
    let database = Connection::open(path).unwrap();
    let schema = include_str!("../src/migrations/1-agents.sql");
    let agent = r#"
        INSERT INTO agents (id, name, created_at, spec, env, wish, status, session_id) VALUES (
            'f3a7', 'old', '2026-01-01T00:00:00Z',
            '{"name":"old","working_dir":"/","command":["sleep","600"]}', '{}', 'running', 'running', 's1'
        );
        PRAGMA user_version = 1"#;
    database
        .execute_batch(&format!("{schema}; {agent}"))
        .unwrap();
}

#[tokio::test]
async fn the_state_of_the_first_version_is_taken_over() {
    let mut daemon = program().start();
    let token = daemon.token.clone();
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    first_database(&daemon.state_dir().join("orchestrator.db"));
    let daemon = program().start_after(daemon);
    assert_eq!(daemon.token, token);
    let old: Agent = daemon.get("/agents/f3a7").await.expect(200).parse();
    assert_eq!((&*old.name, old.status), ("old", AgentStatus::Lost));
    let restart = daemon.request(Method::POST, "/agents/f3a7/restart");
    let restarted: Agent = restart.await.expect(200).parse();
    assert_eq!(restarted.status, AgentStatus::Running);
    let page = daemon.get("/agents?status=running&backend=pty").await;
    assert_eq!(page.json()["total"], 1);
    daemon.delete("/agents/f3a7").await.expect(204);
}

/// Fault: the Docker engine is upgraded under agents of a service, to a version that takes nothing of the old API, and
/// put back. Then: those that are to be started again are, once each time, the end of others is its own, who was stopped
/// stays so, and nothing is left.
#[tokio::test]
async fn an_engine_is_upgraded_under_its_agents() {
    let backend = match TestBackend::docker() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let TestBackend::Docker(engine) = &backend else {
        unreachable!("it is Docker");
    };
    let socket = engine.docker_host().trim_start_matches("unix://");
    let front = Front::of(Path::new(socket), OLD);
    let daemon = backend
        .configure(program())
        .env("DOCKER_HOST", front.docker_host())
        .env("AGENTD_RESTART_BACKOFF_MS", "10")
        .start();
    backend.give(daemon.work_dir());
    let again = create(&daemon, "again", "always").await;
    let once = create(&daemon, "once", "never").await;
    let stopped = create(&daemon, "stopped", "always").await;
    let stop = format!("/agents/{}/stop", stopped.id);
    daemon.request(Method::POST, &stop).await.expect(200);

    for (restarts, version) in [(1, NEW), (2, OLD)] {
        engine.stop();
        let running = [&again, &once];
        unknown(
            &daemon,
            if restarts == 1 {
                &running
            } else {
                &running[..1]
            },
        )
        .await;
        upgrade(engine, &front, version);
        let back = until(&daemon, &again.id, "its restart", |agent| {
            agent.status == AgentStatus::Running && agent.restarts == restarts
        })
        .await;
        assert_eq!(back.session.unwrap().state, State::Running);
        let ended = until(&daemon, &once.id, "its end", |agent| {
            agent
                .session
                .as_ref()
                .is_some_and(|it| it.state == State::Exited)
        })
        .await;
        let exit = ended.session.unwrap().exit.unwrap();
        assert_eq!(exit.reason.as_deref(), Some("engine-stopped"));
        assert_eq!(ended.restarts, 0);
        let left = shown(&daemon, &stopped.id).await;
        assert_eq!((left.status, left.restarts), (AgentStatus::Stopped, 0));
    }
    // Another one starts on what is there now, and each has the ended runs that it was given.
    let later = create(&daemon, "later", "never").await;
    for (agent, runs) in [(&again, 2), (&once, 1), (&stopped, 1), (&later, 0)] {
        let path = format!("/agents/{}", agent.id);
        let sessions = daemon.get(&format!("{path}/sessions")).await.expect(200);
        let sessions: Value = sessions.json();
        assert_eq!(
            sessions["items"].as_array().unwrap().len(),
            runs,
            "{}",
            agent.name
        );
        daemon.delete(&path).await.expect(204);
    }
    assert_eq!(backend.sessions(), 0);
}
