//! What is left of agents when the service ends in any way, and is there again afterwards.

use std::fs;
use std::path::Path;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestProgram, eventually, example_libraries};
use rustix::process::Signal;
use serde_json::json;
use warp::http::Method;

use crate::events::Listener;
use crate::program::program;

/// Ends a service by `signal`, and starts another on the same state directory.
async fn again(mut daemon: RunningProgram, signal: Signal, next: TestProgram) -> RunningProgram {
    daemon.signal(signal);
    daemon.ended().await;
    next.start_after(daemon)
}

async fn agents(daemon: &RunningProgram) -> Vec<Agent> {
    let page = daemon.get("/agents").await.expect(200).json();
    serde_json::from_value(page["items"].clone()).unwrap()
}

async fn restart(daemon: &RunningProgram, id: &str) -> agentd_host::testing::Answer {
    let path = format!("/agents/{id}/restart");
    daemon.request(Method::POST, &path).await
}

async fn create(daemon: &RunningProgram, name: &str, script: &str) -> Agent {
    let body = daemon.new_session(name, &["sh", "-c", script]);
    daemon.create(&body).await.expect(201).parse()
}

/// Fault: the service is killed with an agent that cannot outlive it. Then: the agent is lost, and can be
/// started again.
#[tokio::test]
async fn an_agent_of_a_killed_service_is_lost_and_can_be_restarted() {
    let ending = || program().without_keeper();
    let daemon = ending().start();
    let mut body = daemon.new_session("demo", &["sh", "-c", "echo hello $OWN; cat"]);
    body["env"] = json!({"OWN": "secret"});
    let created: Agent = daemon.create(&body).await.expect(201).parse();
    let next = again(daemon, Signal::KILL, ending()).await;
    let [lost] = &agents(&next).await[..] else {
        panic!("{:?}", agents(&next).await)
    };
    assert_eq!(
        (&lost.id, &lost.created_at),
        (&created.id, &created.created_at)
    );
    assert_eq!(lost.status, AgentStatus::Lost);
    let exit = lost.session.clone().unwrap().exit.unwrap();
    assert_eq!(exit.reason.as_deref(), Some("the service ended first"));
    let stop = format!("/agents/{}/stop", created.id);
    let stopped: Agent = next.request(Method::POST, &stop).await.expect(200).parse();
    assert_eq!(stopped.status, AgentStatus::Lost);
    let restarted: Agent = restart(&next, &created.id).await.expect(200).parse();
    assert_eq!(
        (restarted.status, restarted.restarts),
        (AgentStatus::Running, 1)
    );
    eventually("what it printed", async || {
        let logs = next.get(&format!("/agents/{}/logs", created.id)).await;
        logs.body.contains("hello secret").then_some(())
    })
    .await;
}

#[tokio::test]
async fn values_of_variables_are_not_kept_where_that_is_set() {
    let daemon = program().env("AGENTD_STORE_ENV", "off").start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["env"] = json!({"OWN": "a value of its own"});
    let created: Agent = daemon.create(&body).await.expect(201).parse();
    let plain = create(&daemon, "plain", "cat").await;
    restart(&daemon, &created.id)
        .await
        .problem(409, "env-missing");
    restart(&daemon, &plain.id).await.expect(200);
    for entry in fs::read_dir(daemon.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("a value of its own"), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn agents_that_ended_are_there_after_any_end_of_the_service() {
    let daemon = program().start();
    let failed = create(&daemon, "failed", "exit 7").await;
    let stopped = create(&daemon, "stopped", "cat").await;
    let running = create(&daemon, "running", "cat").await;
    daemon
        .request(Method::POST, &format!("/agents/{}/stop", stopped.id))
        .await
        .expect(200);
    let deleted = create(&daemon, "deleted", "cat").await;
    daemon
        .delete(&format!("/agents/{}", deleted.id))
        .await
        .expect(204);
    eventually("the exit", async || {
        let agent: Agent = daemon.get(&format!("/agents/{}", failed.id)).await.parse();
        (agent.status == AgentStatus::Failed).then_some(())
    })
    .await;
    let before = agents(&daemon).await;
    let names: Vec<&str> = before.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["failed", "stopped", "running"]);

    let daemon = again(daemon, Signal::TERM, program()).await;
    let after = agents(&daemon).await;
    assert_eq!(after[..2], before[..2]);
    assert_eq!(
        (&after[2].id, after[2].status),
        (&running.id, AgentStatus::Stopped)
    );
    assert_eq!(after[2].history.len(), 1);
    let daemon = again(daemon, Signal::KILL, program()).await;
    assert_eq!(agents(&daemon).await, after);
}

#[tokio::test]
async fn an_agent_that_outlives_the_service_is_the_same_agent() {
    let socket = format!("durable-{}", uuid::Uuid::new_v4());
    let tmux = || {
        program()
            .env("AGENTD_BACKEND", "tmux")
            .env("AGENTD_TMUX_SOCKET", &socket)
    };
    let daemon = tmux().start();
    let agent = create(&daemon, "demo", "cat").await;
    restart(&daemon, &agent.id).await.expect(200);
    let before = agents(&daemon).await;
    let daemon = again(daemon, Signal::KILL, tmux()).await;
    let after = agents(&daemon).await;
    assert_eq!((&after[0].id, after[0].restarts), (&agent.id, 1));
    assert_eq!(after[0].status, AgentStatus::Running);
    assert_eq!(after[0].history, before[0].history);
    let events = Listener::new(&daemon, Some(0)).await.until("adopted").await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds[..2], ["created", "started"]);
    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .expect(204);
}

#[tokio::test]
async fn a_listener_resumes_over_a_restart_of_the_service() {
    let daemon = program().start();
    let mut listener = Listener::new(&daemon, None).await;
    let first = create(&daemon, "first", "cat").await;
    let seen = listener.until("started").await;
    assert_eq!(seen.last().unwrap().id, 2);
    drop(listener);
    daemon
        .delete(&format!("/agents/{}", first.id))
        .await
        .expect(204);
    let daemon = again(daemon, Signal::KILL, program()).await;
    create(&daemon, "second", "cat").await;
    let missed = Listener::new(&daemon, Some(2)).await.until("started").await;
    let heard: Vec<(u64, &str)> = missed
        .iter()
        .map(|event| (event.id, event.kind.as_str()))
        .collect();
    let expected = [
        (3, "exited"),
        (4, "deleted"),
        (5, "created"),
        (6, "started"),
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_listener_that_missed_too_much_is_shown_where_to_begin_anew() {
    let daemon = program().env("AGENTD_EVENTS_KEPT", "3").start();
    let mut listener = Listener::new(&daemon, None).await;
    for name in ["one", "two"] {
        create(&daemon, name, "cat").await;
        listener.until("started").await;
    }
    let missed = Listener::new(&daemon, Some(0)).await.until("gap").await;
    assert_eq!((missed.len(), missed[0].id), (1, 4));
    assert_eq!(missed[0].data, json!({"resynchronize": "/agents"}));
    // What another database numbered.
    let missed = Listener::new(&daemon, Some(99)).await.until("gap").await;
    assert_eq!(missed[0].id, 4);
}

#[tokio::test]
async fn a_second_service_on_the_same_state_is_refused() {
    let daemon = program().start();
    let state = daemon.state_dir();
    let second = program().env("AGENTD_STATE_DIR", &state).ends().await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    let holder = format!("process {}", daemon.pid());
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    daemon.get("/agents").await.expect(200);
}

#[tokio::test]
async fn no_other_process_can_open_its_database_whatever_became_of_the_lock() {
    let daemon = program().start();
    let agent = create(&daemon, "demo", "cat").await;
    let state = daemon.state_dir();
    fs::remove_file(state.join("orchestrator.lock")).unwrap();
    let second = program().env("AGENTD_STATE_DIR", &state).ends().await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    for said in ["another process has the database", "hint: end "] {
        assert!(second.stderr.contains(said), "{}", second.stderr);
    }
    // What was there is there, and changed as before.
    let stop = format!("/agents/{}/stop", agent.id);
    daemon.request(Method::POST, &stop).await.expect(200);
    let daemon = again(daemon, Signal::KILL, program()).await;
    let found = agents(&daemon).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].status, AgentStatus::Stopped);
}

/// Fault: the database is damaged. Then: the start is refused, with what to do.
#[tokio::test]
async fn a_damaged_database_is_refused_with_the_way_on() {
    let state = tempfile::tempdir().unwrap();
    let damage = |path: &Path| fs::write(path, [7; 8192]).unwrap();
    damage(&state.path().join("orchestrator.db"));
    let ended = program().env("AGENTD_STATE_DIR", state.path()).ends().await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
    // The way on is done as it is written.
    let way = ended.stderr.lines().last().unwrap();
    let way = way.strip_prefix("hint: ").unwrap();
    let done = std::process::Command::new("sh").args(["-c", way]).status();
    assert!(done.unwrap().success(), "{way}");
    let ended = program()
        .env("AGENTD_STATE_DIR", state.path())
        .start_in(state.path());
    assert!(agents(&ended).await.is_empty());
    assert!(state.path().join("aside/orchestrator.db").exists());
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_is_not_called_lost() {
    let fixture = || {
        program()
            .env("AGENTD_BACKEND", "stuck")
            .env("AGENTD_PLUGIN_DIR", example_libraries())
    };
    let daemon = fixture().start();
    let created = create(&daemon, "demo", "cat").await;
    let unreachable = fixture().env("FIXTURE_UNREACHABLE", "1");
    let daemon = again(daemon, Signal::KILL, unreachable).await;
    let agent = agents(&daemon).await.remove(0);
    assert_eq!(
        (&agent.id, agent.status),
        (&created.id, AgentStatus::Running)
    );
    let session = agent.session.unwrap();
    assert_eq!(session.state, State::Unknown);
    assert!(session.progress.unwrap().contains("cannot be reached"));
    let daemon = again(daemon, Signal::KILL, fixture()).await;
    assert_eq!(agents(&daemon).await[0].status, AgentStatus::Lost);
}
