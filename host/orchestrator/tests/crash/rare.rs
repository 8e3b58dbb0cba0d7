//! Killed at the points that only a failure of the backend leads to, or an end beside what is asked for.

use std::collections::BTreeMap;
use std::fs;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestProgram, TestRequest, eventually};
use agentd_orchestrator::CrashPoint;
use serde_json::json;
use warp::http::Method;

use super::points::{armed, assert_killed};
use super::world::{Answered, World, kill};
use crate::program::crashing_program;
use crate::reconcile::{create, fails, folder, kept, on, sessions, shown, until};

/// Stops an agent, kills the service while it keeps what that has left, and looks whether all of it is
/// there, or nothing.
pub async fn killed_at_the_end(point: CrashPoint, world: &World) {
    let mut daemon = world.start_as(armed(world, point));
    let mut body = world.request("demo");
    body["command"] = json!(["sh", "-c", "echo here; exec sleep 1000"]);
    let id = daemon.post("/agents", &body).await.expect(201).json()["id"].clone();
    let path = format!("/agents/{}", id.as_str().unwrap());
    let stop = daemon.request(Method::POST, &format!("{path}/stop"));
    // It may be answered before.
    let stop = tokio::spawn(stop.unless_cut());
    assert_killed(daemon.as_mut(), point).await;
    let answered = stop.await.unwrap().map(|answer| answer.expect(200));

    let daemon = world.start();
    let answer = match answered {
        Some(_) => Answered::Stopped,
        None => Answered::There,
    };
    world
        .check(&daemon, &BTreeMap::from([("demo".to_owned(), answer)]))
        .await;
    let logs = daemon.get(&format!("{path}/logs")).await;
    match logs.status {
        409 => drop(logs.problem(409, "no-session")),
        _ => drop(logs.expect(200)),
    }
    world.clear(&daemon).await;
    kill(daemon).await;
}

/// A service with the backend whose sessions are files, which is killed at the point.
fn killed_at(point: CrashPoint) -> TestProgram {
    let program = on(crashing_program(), "kept").env("AGENTD_RESTART_BACKOFF_MS", "100");
    program.env("FAILPOINTS", format!("{point:?}=return"))
}

/// Sends the request, which leads to the point, and starts another service.
async fn goes_on(
    mut daemon: RunningProgram,
    request: Option<TestRequest>,
    point: CrashPoint,
    meanwhile: impl FnOnce(&RunningProgram),
) -> RunningProgram {
    let request = request.map(|request| tokio::spawn(request.unless_cut()));
    assert_killed(daemon.as_mut(), point).await;
    drop(request);
    meanwhile(&daemon);
    kept().start_after(daemon)
}

/// Waits until there are no agents, and nothing of them.
async fn nothing_is_left(daemon: &RunningProgram) {
    eventually("nothing is left", async || {
        let total = daemon.get("/agents").await.expect(200).json()["total"].clone();
        (total == 0 && sessions(daemon).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn killed_during_a_deletion_that_fails() {
    for point in [CrashPoint::DeleteFailed, CrashPoint::DeleteKept] {
        let daemon = killed_at(point).start();
        let agent = create(&daemon, "demo").await;
        fails(&daemon, "stays", true);
        let delete = daemon.delete(&format!("/agents/{}", agent.id));
        let heals = |daemon: &RunningProgram| fails(daemon, "stays", false);
        let daemon = goes_on(daemon, Some(delete), point, heals).await;
        if point == CrashPoint::DeleteKept {
            // Its client is not to be surprised by a later deletion.
            let stopped = |agent: &Agent| agent.status == AgentStatus::Stopped;
            until(&daemon, &agent.id, "its end", stopped).await;
            let delete = daemon.delete(&format!("/agents/{}", agent.id));
            delete.await.expect(204);
        }
        nothing_is_left(&daemon).await;
    }
}

/// The agent that was started again as planned may run on: it is not started once more beside that.
#[tokio::test]
async fn killed_after_a_planned_restart_which_cannot_be_taken_over() {
    let point = CrashPoint::PolicyStarted;
    let daemon = killed_at(point).start();
    let mut body = daemon.new_session("demo", &["none"]);
    body["restart"] = json!("always");
    let agent: Agent = daemon.create(&body).await.expect(201).parse();
    let first = sessions(&daemon).remove(0);
    fs::write(folder(&daemon).join(format!("{first}.exit")), "1").unwrap();
    let resists = |daemon: &RunningProgram| fails(daemon, "resists", true);
    let daemon = goes_on(daemon, None, point, resists).await;
    let unknown = shown(&daemon, &agent.id).await;
    assert_eq!(unknown.session.unwrap().state, State::Unknown);
    let started = sessions(&daemon);
    fails(&daemon, "resists", false);
    until(&daemon, &agent.id, "that it is taken over", |agent| {
        let session = agent.session.as_ref();
        session.is_some_and(|session| session.state == State::Running)
    })
    .await;
    assert_eq!((started.len(), started), (1, sessions(&daemon)));
}

#[tokio::test]
async fn killed_during_a_deletion_by_force() {
    for point in [CrashPoint::DeleteAbandoning, CrashPoint::DeleteAbandoned] {
        let daemon = killed_at(point).start();
        let agent = create(&daemon, "demo").await;
        fails(&daemon, "stays", true);
        let delete = daemon.delete(&format!("/agents/{}?force=true", agent.id));
        let heals = |daemon: &RunningProgram| fails(daemon, "stays", false);
        let daemon = goes_on(daemon, Some(delete), point, heals).await;
        nothing_is_left(&daemon).await;
    }
}

#[tokio::test]
async fn killed_at_the_end_of_a_session_without_an_agent() {
    let point = CrashPoint::UnownedEnded;
    let daemon = killed_at(point).start();
    let agent = create(&daemon, "demo").await;
    fails(&daemon, "stays", true);
    let delete = daemon.delete(&format!("/agents/{}?force=true", agent.id));
    delete.await.expect(204);
    fails(&daemon, "stays", false);
    let daemon = goes_on(daemon, None, point, |_| {}).await;
    nothing_is_left(&daemon).await;
}

#[tokio::test]
async fn killed_while_a_restart_is_planned_that_nobody_had_planned() {
    for point in [CrashPoint::OverlookedFound, CrashPoint::OverlookedPlanned] {
        let daemon = killed_at(point).start();
        let mut body = daemon.new_session("demo", &["none"]);
        body["restart"] = json!("on-failure");
        let agent: Agent = daemon.create(&body).await.expect(201).parse();
        fails(&daemon, "hangs", true);
        let restart = daemon.request(Method::POST, &format!("/agents/{}/restart", agent.id));
        let client = tokio::spawn(restart.unless_cut());
        let pending = |agent: &Agent| agent.status == AgentStatus::Pending;
        until(&daemon, &agent.id, "the start", pending).await;
        // Whoever has begun it has left.
        client.abort();
        let heals = |daemon: &RunningProgram| fails(daemon, "hangs", false);
        let daemon = goes_on(daemon, None, point, heals).await;
        let runs = |agent: &Agent| agent.status == AgentStatus::Running;
        until(&daemon, &agent.id, "its restart", runs).await;
        daemon
            .delete(&format!("/agents/{}", agent.id))
            .await
            .expect(204);
        nothing_is_left(&daemon).await;
    }
}
