//! From the start of an agent to its end, and over the end of its daemon.

use std::fs;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::timeout;

use crate::image::CHECKED;
use crate::trial;
use crate::world::{GRACE, World};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "life::exit_code", exit_code);
    trial(trials, "life::exit_by_signal", exit_by_signal);
    trial(trials, "life::unknown_program", unknown_program);
    trial(trials, "life::running_with_a_pid", running_with_a_pid);
    trial(trials, "life::terminate_twice", terminate_twice);
    trial(trials, "life::terminate_by_force", terminate_by_force);
    trial(
        trials,
        "life::terminate_the_whole_tree",
        terminate_the_whole_tree,
    );
    trial(
        trials,
        "life::terminate_a_paused_agent",
        terminate_a_paused_agent,
    );
    trial(
        trials,
        "life::removed_by_somebody_else",
        removed_by_somebody_else,
    );
    trial(trials, "life::out_of_memory", out_of_memory);
    trial(trials, "life::input", input);
    trial(trials, "life::input_of_any_size", input_of_any_size);
    trial(trials, "life::health", health);
    trial(trials, "life::adopt", adopt);
    trial(
        trials,
        "life::adopt_what_ended_meanwhile",
        adopt_what_ended_meanwhile,
    );
    trial(trials, "life::only_our_own", only_our_own);
}

async fn exit_code() {
    let world = World::shared().await;
    let agent = world.sh("exit 3").await;
    assert_eq!(agent.exit().await, ExitStatus::code(3));
    agent.terminate().await;
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
    assert_eq!(agent.exit().await, ExitStatus::code(3), "no second end");
}

async fn exit_by_signal() {
    let world = World::shared().await;
    let agent = world.sh("kill -KILL $$").await;
    assert_eq!(agent.exit().await, ExitStatus::signal(9));
    agent.terminate().await;
}

async fn unknown_program() {
    let world = World::shared().await;
    let agent = world.start(&["no-such-program"], json!({})).await;
    assert_eq!(agent.exit().await, ExitStatus::code(127));
    let log = agent.text().await.join("\n");
    assert!(log.contains("no-such-program"), "{log}");
    agent.terminate().await;
}

async fn running_with_a_pid() {
    let world = World::shared().await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let container = world.inspect(&agent).await.id.expect("an id");
    let events = agent.events.recorded().events;
    let [Event::Running { pid: Some(pid) }] = events[..] else {
        panic!("{events:?}");
    };
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process");
    assert!(groups.contains(&container));
    agent.terminate().await;
}

async fn terminate_twice() {
    let world = World::shared().await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let both = (
        agent.session.terminate(GRACE),
        agent.session.terminate(GRACE),
    );
    let (first, second) = tokio::join!(both.0, both.1);
    first.expect("ending");
    second.expect("ending at the same time");
    agent.terminate().await;
    assert_eq!(agent.exit().await, ExitStatus::signal(15));
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

async fn terminate_by_force() {
    let world = World::shared().await;
    let agent = world
        .sh("trap '' TERM; echo deaf; while true; do sleep 1; done")
        .await;
    agent.wait_for_line("deaf").await;
    let grace = Duration::from_millis(300);
    agent.session.terminate(grace).await.expect("ending");
    assert_eq!(agent.exit().await, ExitStatus::signal(9));
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

async fn terminate_the_whole_tree() {
    let world = World::shared().await;
    let agent = world
        .sh("setsid sleep 600 & sleep 600 & echo ready; wait")
        .await;
    agent.wait_for_line("ready").await;
    let container = world.inspect(&agent).await.id.expect("an id");
    let members = || {
        fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter(|entry| {
                fs::read_to_string(entry.path().join("cgroup"))
                    .is_ok_and(|groups| groups.contains(&container))
            })
            .count()
    };
    assert_eq!(members(), 4, "init, the shell and both children");
    agent.terminate().await;
    assert_eq!(members(), 0);
}

/// Fault: a container is paused. Then: its agent can be ended.
async fn terminate_a_paused_agent() {
    let world = World::shared().await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let container = world.inspect(&agent).await.id.expect("an id");
    world
        .docker
        .pause_container(&container)
        .await
        .expect("pausing");
    agent.terminate().await;
    assert_eq!(agent.exit().await, ExitStatus::signal(15));
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

/// Fault: a container is removed by somebody else. Then: its agent has ended, by that signal.
async fn removed_by_somebody_else() {
    let world = World::shared().await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let container = world.inspect(&agent).await.id.expect("an id");
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    let removed = world.docker.remove_container(&container, Some(force)).await;
    removed.expect("removing");
    assert_eq!(agent.exit().await, ExitStatus::signal(9));
    agent.terminate().await;
}

/// Fault: a container is killed for its memory. Then: its agent has ended, with that reason.
async fn out_of_memory() {
    let world = World::shared().await;
    let agent = world
        .start(&["tail", "/dev/zero"], json!({"memory_limit_mb": 16}))
        .await;
    let status = agent.exit().await;
    assert_eq!(
        (status.signal, status.reason.as_deref()),
        (Some(9), Some("oom-killed"))
    );
    agent.terminate().await;
}

async fn input() {
    let mut world = World::shared().await;
    let agent = world.start(&["cat"], json!({})).await;
    agent
        .session
        .prompt("one".to_owned(), true)
        .await
        .expect("a prompt");
    agent.wait_for_line("one").await;
    agent
        .session
        .prompt("not yet ".to_owned(), false)
        .await
        .expect("a prompt");
    agent
        .session
        .prompt("submitted ä".to_owned(), true)
        .await
        .expect("a prompt");
    agent.wait_for_line("not yet submitted ä").await;

    world.restart_daemon().await;
    let recorder = Recorder::new();
    let adopted = world
        .backend
        .adopt(agent.id.clone(), recorder.events())
        .await;
    let adopted = adopted.expect("adopting");
    adopted
        .prompt("still here".to_owned(), true)
        .await
        .expect("a prompt");
    agent.wait_for_line("still here").await;
    adopted.terminate(GRACE).await.expect("ending");
    let refused = adopted.prompt("too late".to_owned(), true).await;
    assert_eq!(refused.expect_err("it has ended").kind, ErrorKind::Gone);
}

/// More than a pipe holds waits until the agent reads.
async fn input_of_any_size() {
    let world = World::shared().await;
    let script = "while test ! -e go; do sleep 0.05; done; head -c 1048576 | wc -c";
    let agent = world.sh(script).await;
    let text = "0123456789abcdef".repeat(64 * 1024);
    let prompt = agent.session.prompt(text, false);
    tokio::pin!(prompt);
    let early = timeout(Duration::from_millis(300), &mut prompt).await;
    assert!(early.is_err(), "nobody has read it yet");
    agent.file("go", Some(""));
    prompt.await.expect("a prompt");
    assert_eq!(agent.exit().await, ExitStatus::code(0));
    assert_eq!(agent.text().await, ["1048576"]);
    agent.terminate().await;
}

async fn health() {
    let world = World::shared().await;
    let agent = world
        .start(&["sleep", "600"], json!({"image": CHECKED}))
        .await;
    let health = |health| Event::Health { health };
    agent.wait_for(health(Health::Starting)).await;
    agent.wait_for(health(Health::Unhealthy)).await;
    agent.file("well", Some(""));
    agent.wait_for(health(Health::Healthy)).await;
    agent.terminate().await;

    let unchecked = world.start(&["sleep", "600"], json!({})).await;
    unchecked.terminate().await;
    let events = unchecked.events.recorded().events;
    let reported = events
        .iter()
        .any(|event| matches!(event, Event::Health { .. }));
    assert!(
        !reported,
        "without a check the health is unknown: {events:?}"
    );
}

async fn adopt() {
    let mut world = World::shared().await;
    let agent = world
        .start(&["sleep", "600"], json!({"image": CHECKED}))
        .await;
    agent.file("well", Some(""));
    agent
        .wait_for(Event::Health {
            health: Health::Healthy,
        })
        .await;

    world.restart_daemon().await;
    let found = world.backend.list().await.expect("listing");
    let expected = Found {
        id: agent.id.clone(),
        label: format!("label of {}", agent.id),
    };
    assert_eq!(found, [expected]);
    let recorder = Recorder::new();
    let adopted = world
        .backend
        .adopt(agent.id.clone(), recorder.events())
        .await;
    let adopted = adopted.expect("adopting");
    let events = recorder.recorded().events;
    assert!(
        matches!(events[0], Event::Running { pid: Some(_) }),
        "{events:?}"
    );
    assert_eq!(
        events[1],
        Event::Health {
            health: Health::Healthy
        }
    );

    adopted.terminate(GRACE).await.expect("ending");
    let exited = Event::Exited {
        status: ExitStatus::signal(15),
    };
    assert_eq!(recorder.recorded().events.last(), Some(&exited));
    assert_eq!(world.backend.list().await.expect("listing"), []);
    let gone = world
        .backend
        .adopt(agent.id.clone(), recorder.events())
        .await;
    assert_eq!(gone.err().expect("it is gone").kind, ErrorKind::Gone);
}

async fn adopt_what_ended_meanwhile() {
    let mut world = World::shared().await;
    let agent = world.sh("read line; exit 5").await;
    let agents = world.backend.list().await.expect("listing");
    assert_eq!(agents.len(), 1);
    agent
        .session
        .prompt(String::new(), true)
        .await
        .expect("a prompt");
    agent.exit().await;

    world.restart_daemon().await;
    let recorder = Recorder::new();
    let adopted = world
        .backend
        .adopt(agent.id.clone(), recorder.events())
        .await;
    let exited = Event::Exited {
        status: ExitStatus::code(5),
    };
    assert_eq!(recorder.recorded().events, [exited]);
    adopted
        .expect("adopting")
        .terminate(GRACE)
        .await
        .expect("ending");
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

async fn only_our_own() {
    let ours = World::shared().await;
    let theirs = World::shared().await;
    let agent = theirs.start(&["sleep", "600"], json!({})).await;
    assert_eq!(ours.backend.list().await.expect("listing"), []);
    let recorder = Recorder::new();
    let adopted = ours
        .backend
        .adopt(agent.id.clone(), recorder.events())
        .await;
    assert_eq!(adopted.err().expect("not ours").kind, ErrorKind::Gone);
    agent.terminate().await;
}
