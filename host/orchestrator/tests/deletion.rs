//! Agents that are deleted while their session cannot be ended.

use std::fs;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestProgram, eventually};
use rustix::process::Signal;
use serde_json::json;
use warp::http::Method;

use crate::program::program;
use crate::reconcile::{create, fails, folder, kept, sessions, shown};

async fn killed(mut daemon: RunningProgram, next: TestProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    next.start_after(daemon)
}

/// Deletes it by force, after a deletion that is refused.
async fn force(daemon: &RunningProgram, agent: &Agent) {
    let path = format!("/agents/{}", agent.id);
    let refused = daemon.delete(&path).await;
    assert!([500, 503].contains(&refused.status), "{refused:?}");
    let forced = format!("{path}?force=true");
    daemon.delete(&forced).await.expect(204);
    daemon.get(&path).await.expect(404);
    daemon.delete(&forced).await.expect(404);
    assert_eq!(sessions(daemon).len(), 1, "it was out of reach");
}

/// Waits for the end of the session. No agent is made of it meanwhile.
async fn ends(daemon: &RunningProgram) {
    eventually("the end of the session", async || {
        assert_eq!(daemon.get("/agents").await.json()["total"], 0);
        sessions(daemon).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_backend_cannot_be_reached_is_deleted_by_force() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = killed(daemon, kept()).await;
    fails(&daemon, "unreachable", true);
    let daemon = killed(daemon, kept()).await;
    force(&daemon, &agent).await;
    // Also over a service that does not see it.
    let daemon = killed(daemon, kept()).await;
    fails(&daemon, "unreachable", false);
    ends(&daemon).await;
}

#[tokio::test]
async fn a_session_that_is_still_there_after_its_agent_is_deleted_is_no_agent_again() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let session = folder(&daemon).join(sessions(&daemon).remove(0));
    let kept_by_the_backend = fs::read(&session).unwrap();
    let path = format!("/agents/{}", agent.id);
    daemon.delete(&path).await.expect(204);
    // As a backend may have it for a moment longer, over an end of the service.
    fs::write(&session, kept_by_the_backend).unwrap();
    let daemon = killed(daemon, kept()).await;
    ends(&daemon).await;
}

#[tokio::test]
async fn an_agent_of_another_backend_is_deleted_by_force() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let daemon = killed(daemon, program()).await;
    force(&daemon, &agent).await;
    let daemon = killed(daemon, kept()).await;
    ends(&daemon).await;
}

#[tokio::test]
async fn an_agent_that_cannot_be_ended_is_deleted_by_force() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    fails(&daemon, "stays", true);
    force(&daemon, &agent).await;
    fails(&daemon, "stays", false);
    ends(&daemon).await;
    // Its name is free.
    create(&daemon, "demo").await;
}

#[tokio::test]
async fn an_agent_that_could_not_be_taken_over_is_deleted_as_soon_as_it_can_be_ended_or_is_gone() {
    let seldom = || kept().env("AGENTD_RECONCILE_INTERVAL_SECS", "86400");
    for is_gone in [false, true] {
        let daemon = seldom().start();
        let mut body = daemon.new_session("demo", &["none"]);
        body["restart"] = json!("always");
        let agent: Agent = daemon.create(&body).await.expect(201).parse();
        fails(&daemon, "resists", true);
        let daemon = killed(daemon, seldom()).await;
        let unknown = shown(&daemon, &agent.id).await;
        assert_eq!(unknown.status, AgentStatus::Running);
        assert_eq!(unknown.session.unwrap().state, State::Unknown);
        assert_eq!((unknown.next_restart_at, unknown.history), (None, vec![]));
        let path = format!("/agents/{}", agent.id);
        let refused = daemon.delete(&path).await;
        refused.problem(503, "backend-unavailable");
        match is_gone {
            true => fs::remove_file(folder(&daemon).join(sessions(&daemon).remove(0))).unwrap(),
            false => fails(&daemon, "resists", false),
        }
        daemon.delete(&path).await.expect(204);
        daemon.get(&path).await.expect(404);
        assert_eq!(sessions(&daemon), [""; 0]);
    }
}

/// Two of an agent never run side by side.
#[tokio::test]
async fn an_agent_that_could_not_be_taken_over_is_restarted_once_it_can_be_ended_or_is_gone() {
    let seldom = || kept().env("AGENTD_RECONCILE_INTERVAL_SECS", "86400");
    for is_gone in [false, true] {
        let daemon = seldom().start();
        let agent = create(&daemon, "demo").await;
        let first = sessions(&daemon).remove(0);
        fails(&daemon, "resists", true);
        let daemon = killed(daemon, seldom()).await;
        let path = format!("/agents/{}/restart", agent.id);
        let refused = daemon.request(Method::POST, &path).await;
        refused.problem(503, "backend-unavailable");
        assert_eq!(sessions(&daemon), std::slice::from_ref(&first));
        match is_gone {
            true => fs::remove_file(folder(&daemon).join(&first)).unwrap(),
            false => fails(&daemon, "resists", false),
        }
        let restarted = daemon.request(Method::POST, &path).await;
        let restarted: Agent = restarted.expect(200).parse();
        assert_eq!(restarted.session.unwrap().state, State::Running);
        let all = sessions(&daemon);
        assert!(all.len() == 1 && all[0] != first, "{all:?}");
    }
}

#[tokio::test]
async fn an_agent_that_can_be_ended_is_ended_by_force_too() {
    let daemon = kept().start();
    let agent = create(&daemon, "demo").await;
    let path = format!("/agents/{}?force=true", agent.id);
    daemon.delete(&path).await.expect(204);
    assert_eq!(sessions(&daemon), [""; 0]);
    let unclear = daemon.delete(&format!("/agents/{}?force=perhaps", agent.id));
    unclear.await.problem(400, "invalid-query");
}
