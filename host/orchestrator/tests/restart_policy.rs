//! Agents are started again as their policy wants, and a person's stop always wins.

use std::fs;

use agentd_api::{Agent, AgentStatus, RestartPolicy};
use agentd_host::testing::{RunningProgram, TestProgram, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use warp::http::Method;

use crate::events::Listener;
use crate::program::program;
use crate::reconcile::{fails, folder, kept, run_with, sessions, shown, until};

/// Longer than any test.
const LATER: &str = "3600000";

/// Waits little before a restart.
fn hasty(program: TestProgram) -> TestProgram {
    program.env("AGENTD_RESTART_BACKOFF_MS", "10")
}

/// The same, whose agents end with a service that is killed.
fn ending() -> TestProgram {
    hasty(program()).without_keeper()
}

async fn create(daemon: &RunningProgram, name: &str, more: Value) -> Agent {
    let mut body = daemon.new_session(name, &["none"]);
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    daemon.create(&body).await.expect(201).parse()
}

async fn post(daemon: &RunningProgram, agent: &Agent, verb: &str) -> Agent {
    let path = format!("/agents/{}/{verb}", agent.id);
    daemon
        .request(Method::POST, &path)
        .await
        .expect(200)
        .parse()
}

async fn patch(daemon: &RunningProgram, agent: &Agent, body: Value) -> Agent {
    let path = format!("/agents/{}", agent.id);
    daemon.patch(&path, &body).await.expect(200).parse()
}

/// Ends the one session that there is.
fn end(daemon: &RunningProgram, code: i32) {
    let ids = sessions(daemon);
    assert_eq!(ids.len(), 1);
    let exit = folder(daemon).join(format!("{}.exit", ids[0]));
    fs::write(exit, code.to_string()).unwrap();
}

async fn waiting(daemon: &RunningProgram, agent: &Agent) -> Agent {
    until(daemon, &agent.id, "a planned restart", |agent| {
        agent.next_restart_at.is_some()
    })
    .await
}

async fn killed(mut daemon: RunningProgram, next: TestProgram) -> RunningProgram {
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    next.start_after(daemon)
}

#[tokio::test]
async fn an_agent_that_fails_again_and_again_is_given_up() {
    let daemon = hasty(program()).start();
    let mut listener = Listener::new(&daemon, None).await;
    let command = ["sh", "-c", "exit 3"];
    let more = json!({"command": command, "restart": "on-failure", "max_restarts": 2});
    let agent = create(&daemon, "demo", more).await;
    assert_eq!(
        (agent.restart, agent.max_restarts),
        (RestartPolicy::OnFailure, Some(2))
    );
    let given_up = until(&daemon, &agent.id, "the last restart", |agent| {
        let reason = agent.restart_reason.as_deref();
        reason == Some("exit code 3; restarted 2 times, the most allowed")
    })
    .await;
    assert_eq!((given_up.restarts, given_up.next_restart_at), (2, None));
    assert_eq!(given_up.status, AgentStatus::Failed);
    assert_eq!(given_up.last_exit.unwrap().code, Some(3));
    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .expect(204);
    let events = listener.until("deleted").await;
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("restart_scheduled"), count("restarted")), (2, 2));
    let planned = events
        .iter()
        .find(|event| event.kind == "restart_scheduled");
    assert!(planned.unwrap().data["agent"]["next_restart_at"].is_string());
}

#[tokio::test]
async fn a_policy_restarts_after_the_ends_that_it_names() {
    for (policy, code, restarts) in [
        ("never", 1, false),
        ("on-failure", 0, false),
        ("on-failure", 1, true),
        ("always", 0, true),
    ] {
        let daemon = hasty(kept()).start();
        let agent = create(&daemon, "demo", json!({"restart": policy})).await;
        end(&daemon, code);
        let ended = until(&daemon, &agent.id, "the end", |agent| {
            agent.last_exit.is_some()
        })
        .await;
        assert_eq!(ended.last_exit.unwrap().code, Some(code));
        if restarts {
            until(&daemon, &agent.id, "the restart", |agent| {
                (agent.restarts, agent.status) == (1, AgentStatus::Running)
            })
            .await;
        } else {
            assert_eq!(ended.next_restart_at, None, "{policy} {code}");
        }
    }
}

#[tokio::test]
async fn a_person_decides_while_an_agent_waits_for_its_restart() {
    let daemon = kept().env("AGENTD_RESTART_BACKOFF_MS", LATER).start();
    let agent = create(&daemon, "demo", json!({"restart": "always"})).await;
    end(&daemon, 1);
    waiting(&daemon, &agent).await;
    let stopped = post(&daemon, &agent, "stop").await;
    assert_eq!(
        (stopped.next_restart_at, stopped.restart_reason),
        (None, None)
    );
    // Also after the service has ended in any way.
    let daemon = killed(daemon, kept().env("AGENTD_RESTART_BACKOFF_MS", "1")).await;
    let run = daemon.get("/health?verbose=1").await.json()["reconcile"]["at"].clone();
    eventually("the next look", async || {
        let health = daemon.get("/health?verbose=1").await.json();
        (health["reconcile"]["at"] != run).then_some(())
    })
    .await;
    let still = shown(&daemon, &agent.id).await;
    assert_eq!((still.restarts, still.next_restart_at), (0, None));

    let daemon = killed(daemon, kept().env("AGENTD_RESTART_BACKOFF_MS", LATER)).await;
    let restarted = post(&daemon, &agent, "restart").await;
    assert_eq!(
        (restarted.restarts, restarted.status),
        (1, AgentStatus::Running)
    );
    end(&daemon, 1);
    waiting(&daemon, &agent).await;
    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .expect(204);
    assert_eq!(sessions(&daemon), [""; 0]);
}

#[tokio::test]
async fn a_stop_wins_at_the_moment_of_a_restart() {
    let daemon = hasty(kept()).start();
    for verb in ["stop", "delete"] {
        let agent = create(&daemon, "demo", json!({"restart": "always"})).await;
        fails(&daemon, "hangs", true);
        end(&daemon, 1);
        until(&daemon, &agent.id, "the start that hangs", |agent| {
            agent.status == AgentStatus::Pending
        })
        .await;
        if verb == "stop" {
            let stopped = post(&daemon, &agent, "stop").await;
            assert_eq!(stopped.status, AgentStatus::Stopped);
            let stopped = shown(&daemon, &agent.id).await;
            assert_eq!((stopped.restarts, stopped.next_restart_at), (0, None));
        }
        let path = format!("/agents/{}", agent.id);
        daemon.delete(&path).await.expect(204);
        fails(&daemon, "hangs", false);
        assert_eq!(sessions(&daemon), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_planned_outlives_the_service() {
    let later = || kept().env("AGENTD_RESTART_BACKOFF_MS", "3000");
    let daemon = later().start();
    let agent = create(&daemon, "demo", json!({"restart": "on-failure"})).await;
    end(&daemon, 1);
    let planned = waiting(&daemon, &agent).await.next_restart_at;
    let daemon = killed(daemon, later()).await;
    // The ended session is adopted, and reports its end once more.
    let waits = waiting(&daemon, &agent).await;
    assert_eq!((waits.restarts, waits.next_restart_at), (0, planned));
    until(&daemon, &agent.id, "the restart", |agent| {
        (agent.restarts, agent.status) == (1, AgentStatus::Running)
    })
    .await;
    assert_eq!(sessions(&daemon).len(), 1);
}

#[tokio::test]
async fn a_restart_that_a_crash_cut_short_is_done() {
    let mut daemon = hasty(kept()).start();
    let agent = create(&daemon, "demo", json!({"restart": "on-failure"})).await;
    fails(&daemon, "hangs", true);
    end(&daemon, 1);
    until(&daemon, &agent.id, "the start that hangs", |agent| {
        agent.status == AgentStatus::Pending
    })
    .await;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    fails(&daemon, "hangs", false);
    let daemon = hasty(kept()).start_after(daemon);
    until(&daemon, &agent.id, "the restart", |agent| {
        (agent.restarts, agent.status) == (1, AgentStatus::Running)
    })
    .await;
    assert_eq!(sessions(&daemon).len(), 1);
}

#[tokio::test]
async fn agents_of_a_killed_service_run_again_if_their_policy_wants_it() {
    let daemon = ending().start();
    let mut agents = Vec::new();
    for policy in ["never", "on-failure", "always"] {
        let more = json!({"command": ["cat"], "restart": policy});
        agents.push(create(&daemon, policy, more).await);
    }
    let daemon = killed(daemon, ending()).await;
    for agent in &agents[1..] {
        let again = until(&daemon, &agent.id, "the restart", |agent| {
            (agent.restarts, agent.status) == (1, AgentStatus::Running)
        })
        .await;
        let reason = again.restart_reason.unwrap();
        assert_eq!(reason, "the service ended first");
    }
    let never = shown(&daemon, &agents[0].id).await;
    assert_eq!((never.status, never.restarts), (AgentStatus::Lost, 0));
}

#[tokio::test]
async fn a_restart_that_the_end_of_the_service_made_necessary_does_not_count() {
    let mut daemon = ending().start();
    let more = json!({"command": ["cat"], "restart": "on-failure", "max_restarts": 1});
    let agent = create(&daemon, "demo", more).await;
    for restarts in 1..=3 {
        daemon = killed(daemon, ending()).await;
        until(&daemon, &agent.id, "the restart", |agent| {
            (agent.restarts, agent.status) == (restarts, AgentStatus::Running)
        })
        .await;
    }
    // Its own failures do.
    let kill = async || {
        let session = shown(&daemon, &agent.id).await.session.unwrap();
        let pid = i32::try_from(session.pid.unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    };
    kill().await;
    until(&daemon, &agent.id, "the restart", |agent| {
        (agent.restarts, agent.status) == (4, AgentStatus::Running)
    })
    .await;
    kill().await;
    let given_up = until(&daemon, &agent.id, "that it is given up", |agent| {
        agent.status == AgentStatus::Failed && agent.next_restart_at.is_none()
    })
    .await;
    let reason = given_up.restart_reason.unwrap();
    assert!(
        reason.ends_with("; restarted 1 time, the most allowed"),
        "{reason}"
    );
}

#[tokio::test]
async fn few_agents_are_started_again_at_a_time() {
    let daemon = hasty(kept()).start();
    let names = (0..12).map(|number| format!("a{number}"));
    for name in names {
        create(&daemon, &name, json!({"restart": "always"})).await;
    }
    fails(&daemon, "hangs", true);
    for id in sessions(&daemon) {
        fs::write(folder(&daemon).join(format!("{id}.exit")), "1").unwrap();
    }
    let count = async |status: &str| {
        let page = daemon.get(&format!("/agents?status={status}")).await;
        page.json()["total"].as_u64().unwrap()
    };
    eventually("the first of them", async || {
        let (pending, failed) = (count("pending").await, count("failed").await);
        assert!(pending <= 4, "{pending}");
        (pending == 4 && failed == 8).then_some(())
    })
    .await;
    fails(&daemon, "hangs", false);
    eventually("all of them", async || {
        (count("running").await == 12).then_some(())
    })
    .await;
    assert_eq!(sessions(&daemon).len(), 12);
}

/// Fault: the backend cannot be reached when a restart is due. Then: it is done when the backend is back.
#[tokio::test]
async fn nothing_is_started_again_while_the_backend_cannot_be_reached() {
    let daemon = hasty(kept()).start();
    let agent = create(&daemon, "demo", json!({"restart": "always"})).await;
    fails(&daemon, "unreachable", true);
    let mut looked = run_with(&daemon, "a look in vain", |run| run.error.is_some()).await;
    end(&daemon, 1);
    waiting(&daemon, &agent).await;
    // By the second of these its restart was due long before.
    for _ in 0..2 {
        looked = run_with(&daemon, "the next look", |run| run.at > looked.at).await;
    }
    let waits = shown(&daemon, &agent.id).await;
    assert_eq!((waits.status, waits.restarts), (AgentStatus::Failed, 0));
    assert!(waits.next_restart_at.is_some());
    fails(&daemon, "unreachable", false);
    until(&daemon, &agent.id, "its restart", |agent| {
        agent.status == AgentStatus::Running && agent.restarts == 1
    })
    .await;
}

#[tokio::test]
async fn a_restart_that_is_refused_is_tried_again_with_the_reason_shown() {
    let daemon = hasty(kept()).start();
    let bounded = json!({"restart": "on-failure", "max_restarts": 3});
    let agent = create(&daemon, "demo", bounded).await;
    fails(&daemon, "refuses", true);
    end(&daemon, 1);
    let given_up = until(&daemon, &agent.id, "the last refusal", |agent| {
        let reason = agent.restart_reason.as_deref().unwrap_or_default();
        reason.contains("the most allowed")
    })
    .await;
    let reason = given_up.restart_reason.unwrap();
    assert!(reason.starts_with("it starts nothing now"), "{reason}");
    assert_eq!((given_up.restarts, given_up.next_restart_at), (0, None));
    // More are allowed.
    fails(&daemon, "refuses", false);
    patch(&daemon, &agent, json!({"max_restarts": null})).await;
    until(&daemon, &agent.id, "the restart", |agent| {
        (agent.restarts, agent.status) == (1, AgentStatus::Running)
    })
    .await;
}

#[tokio::test]
async fn a_restart_without_the_values_it_needs_says_so() {
    let daemon = hasty(kept()).env("AGENTD_STORE_ENV", "off").start();
    let more = json!({"env": {"KEY": "value"}, "restart": "always", "max_restarts": 1});
    let agent = create(&daemon, "demo", more).await;
    end(&daemon, 1);
    let given_up = until(&daemon, &agent.id, "the refusal", |agent| {
        agent.restart_reason.is_some() && agent.next_restart_at.is_none()
    })
    .await;
    let reason = given_up.restart_reason.unwrap();
    assert!(reason.contains("the values of `KEY`"), "{reason}");
}

#[tokio::test]
async fn an_agent_that_ran_for_long_begins_to_count_anew() {
    let daemon = hasty(kept()).env("AGENTD_RESTART_RESET_MS", "1").start();
    let bounded = json!({"restart": "on-failure", "max_restarts": 1});
    let agent = create(&daemon, "demo", bounded).await;
    for restarts in 1..4 {
        end(&daemon, 1);
        until(&daemon, &agent.id, "the restart", |agent| {
            (agent.restarts, agent.status) == (restarts, AgentStatus::Running)
        })
        .await;
    }
}

#[tokio::test]
async fn the_policy_can_be_changed() {
    let daemon = hasty(kept()).start();
    let agent = create(&daemon, "demo", json!({})).await;
    assert_eq!(
        (agent.restart, agent.max_restarts),
        (RestartPolicy::Never, None)
    );
    let changed = patch(
        &daemon,
        &agent,
        json!({"restart": "always", "max_restarts": 5}),
    )
    .await;
    assert_eq!(
        (changed.restart, changed.max_restarts),
        (RestartPolicy::Always, Some(5))
    );
    let same = patch(&daemon, &agent, json!({"labels": {"a": "b"}})).await;
    assert_eq!(
        (same.restart, same.max_restarts),
        (RestartPolicy::Always, Some(5))
    );
    let never = patch(
        &daemon,
        &agent,
        json!({"restart": "never", "max_restarts": null}),
    )
    .await;
    assert_eq!(
        (never.restart, never.max_restarts),
        (RestartPolicy::Never, None)
    );
    // One that has ended is started as the new policy wants.
    end(&daemon, 1);
    until(&daemon, &agent.id, "the end", |agent| {
        agent.status == AgentStatus::Failed
    })
    .await;
    patch(&daemon, &agent, json!({"restart": "on-failure"})).await;
    until(&daemon, &agent.id, "the restart", |agent| {
        agent.restarts == 1
    })
    .await;
    let path = format!("/agents/{}", agent.id);
    for wrong in [json!({"restart": "sometimes"}), json!({"max_restarts": -1})] {
        let answer = daemon.patch(&path, &wrong).await;
        answer.problem(400, "invalid-body");
    }
}
