//! Agents from their start to their end.

use agentd_plugin_api::prelude::*;
use bollard::models::{ServiceSpecMode, ServiceSpecModeReplicated};
use bollard::query_parameters::UpdateServiceOptionsBuilder;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::Instant;

use crate::trial;
use crate::world::{GRACE, Workspace, World, is_end};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "life::exit_codes", exit_codes);
    trial(
        trials,
        "life::a_prompt_reaches_the_agent",
        a_prompt_reaches_the_agent,
    );
    trial(trials, "life::an_end_with_grace", an_end_with_grace);
    trial(trials, "life::nothing_is_left", nothing_is_left);
    trial(
        trials,
        "life::adopted_by_the_next_daemon",
        adopted_by_the_next_daemon,
    );
    trial(trials, "life::out_of_memory", out_of_memory);
    trial(
        trials,
        "life::removed_by_somebody_else",
        removed_by_somebody_else,
    );
    trial(
        trials,
        "life::scaled_down_by_somebody_else",
        scaled_down_by_somebody_else,
    );
    trial(trials, "life::a_terminal", a_terminal);
    trial(trials, "life::health", health);
}

async fn exit_codes() {
    let world = World::shared().await;
    for (script, status) in [
        ("exit 0", ExitStatus::code(0)),
        ("exit 3", ExitStatus::code(3)),
        ("kill -9 $$", ExitStatus::signal(9)),
    ] {
        let agent = world.sh(script).await;
        assert_eq!(agent.exit().await, status, "{script}");
        agent.terminate().await;
    }
    let absent = world.start(&["/nonexistent"], json!({})).await;
    let end = absent.end().await;
    assert!(matches!(end, Event::Exited { .. }), "{end:?}");
    absent.terminate().await;
}

async fn a_prompt_reaches_the_agent() {
    let world = World::shared().await;
    let agent = world
        .sh("while read -r line; do echo \"got $line\"; done")
        .await;
    let pid = agent.running().await;
    assert!(pid.is_some(), "the process is on this machine");
    for word in ["one", "two"] {
        let prompt = agent.session.prompt(word.to_owned(), true).await;
        prompt.expect("a prompt");
    }
    agent.wait_for_line("got two").await;
    assert_eq!(agent.text().await, ["got one", "got two"]);
    agent.terminate().await;
    let late = agent.session.prompt("three".to_owned(), true).await;
    assert_eq!(late.expect_err("it has ended").kind, ErrorKind::Gone);
}

async fn an_end_with_grace() {
    let world = World::shared().await;
    let polite = world
        .sh("trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.1; done")
        .await;
    polite.wait_for_line("ready").await;
    polite.terminate().await;
    assert_eq!(polite.exit().await, ExitStatus::code(7));

    let deaf = world
        .sh("trap '' TERM; echo ready; while true; do sleep 1; done")
        .await;
    deaf.wait_for_line("ready").await;
    let begun = Instant::now();
    let end = deaf.session.terminate(Duration::from_secs(1)).await;
    end.expect("terminating");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(deaf.exit().await, ExitStatus::signal(9));
    deaf.terminate().await;
}

/// With an isolated agent that has a secret and has written into its volume.
async fn nothing_is_left() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let options = json!({"network_policy": "isolated", "secrets": ["KEY"]});
    let script = "touch /workspace/file && echo written; exec sleep 600";
    let mut spec = workspace.spec(&["sh", "-c", script], options);
    spec.env.insert("KEY".to_owned(), "s3cret".to_owned());
    let agent = world.start_spec(spec, workspace).await.expect("starting");
    agent.wait_for_line("written").await;
    let mounts = world.inspect(&agent).await.mounts.expect("mounts");
    let volume = mounts.iter().find_map(|mount| mount.name.clone());
    let volume = volume.expect("a volume");
    assert!(world.volumes().await.contains(&volume));
    let listed = world.backend.list().await.expect("listing");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].label, format!("label of {}", agent.id));

    agent.terminate().await;
    assert_eq!(agent.exit().await, ExitStatus::signal(15));
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
    assert!(!world.volumes().await.contains(&volume));
    assert_eq!(world.backend.list().await.expect("listing"), []);
    agent.terminate().await;
}

async fn adopted_by_the_next_daemon() {
    let mut world = World::shared().await;
    let script = "while read -r line; do echo \"got $line\"; done";
    let living = world.sh(script).await;
    let dead = world.sh("exit 5").await;
    let pid = living.running().await;
    dead.exit().await;
    let (living, dead) = (living.id.clone(), dead.id.clone());
    world.restart_daemon().await;
    let mut listed = world.backend.list().await.expect("listing");
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    let mut expected = [living.clone(), dead.clone()];
    expected.sort();
    assert_eq!(
        listed
            .iter()
            .map(|found| found.id.clone())
            .collect::<Vec<_>>(),
        expected
    );

    let living = world.adopt(&living).await;
    assert_eq!(living.running().await, pid);
    let prompt = living.session.prompt("hello".to_owned(), true).await;
    prompt.expect("a prompt");
    living.wait_for_line("got hello").await;
    let dead = world.adopt(&dead).await;
    assert_eq!(dead.exit().await, ExitStatus::code(5));
    for agent in [&living, &dead] {
        agent.terminate().await;
        assert_eq!(world.remains(&agent.id).await, [""; 0]);
    }
    assert_eq!(living.exit().await, ExitStatus::signal(15));

    let other = World::shared().await;
    let foreign = world.sh("sleep 600").await;
    assert_eq!(other.backend.list().await.expect("listing"), []);
    let events = agentd_plugin_api::testing::Recorder::new().events();
    let adopted = other.backend.adopt(foreign.id.clone(), events).await;
    assert_eq!(adopted.err().expect("not ours").kind, ErrorKind::Gone);
    foreign.terminate().await;
}

async fn out_of_memory() {
    let world = World::shared().await;
    let agent = world
        .start(&["tail", "/dev/zero"], json!({"memory_limit_mb": 16}))
        .await;
    let status = agent.exit().await;
    assert_eq!(status.reason.as_deref(), Some("oom-killed"), "{status:?}");
    agent.terminate().await;
}

async fn removed_by_somebody_else() {
    let world = World::shared().await;
    let options = json!({"network_policy": "isolated"});
    let agent = world.start(&["sleep", "600"], options).await;
    agent.running().await;
    let service = world.service(&agent).await.id.expect("an id");
    world
        .docker
        .delete_service(&service)
        .await
        .expect("removing");
    let end = agent.end().await;
    assert!(
        matches!(end, Event::Lost { .. } | Event::Exited { .. }),
        "{end:?}"
    );
    agent.terminate().await;
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

/// Fault: somebody lets the service have no task. Then: its agent is lost, or ended by Swarm, and nothing is left.
async fn scaled_down_by_somebody_else() {
    let world = World::shared().await;
    let agent = world.sh("exec sleep 600").await;
    agent.running().await;
    let service = world.service(&agent).await;
    let mut spec = service.spec.expect("a specification");
    spec.mode = Some(ServiceSpecMode {
        replicated: Some(ServiceSpecModeReplicated { replicas: Some(0) }),
        ..ServiceSpecMode::default()
    });
    let version = service.version.and_then(|version| version.index);
    let version = i32::try_from(version.expect("a version")).expect("a small one");
    let options = UpdateServiceOptionsBuilder::new().version(version).build();
    let id = service.id.expect("an id");
    let updated = world.docker.update_service(&id, spec, options, None).await;
    updated.expect("scaling down");
    let end = agent.end().await;
    assert!(is_end(&end), "{end:?}");
    agent.terminate().await;
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

async fn a_terminal() {
    let world = World::shared().await;
    let script = "tty; read -r line; stty size; echo \"got $line\"; exec sleep 600";
    let agent = world
        .start(&["sh", "-c", script], json!({"tty": true}))
        .await;
    agent.running().await;
    agent.wait_for_line("/dev/pts/0").await;
    let prompt = agent.session.prompt("hello".to_owned(), true).await;
    prompt.expect("a prompt");
    agent.wait_for_line("got hello").await;
    agent.wait_for_line("24 80").await;
    let wide = Size {
        cols: 120,
        rows: 40,
    };
    agent.session.resize(wide).await.expect("resizing");
    agent.terminate().await;
}

async fn health() {
    let world = World::shared().await;
    let script = "touch /workspace/well; read -r line; rm /workspace/well; exec sleep 600";
    let options = json!({"image": crate::image::CHECKED});
    let agent = world.start(&["sh", "-c", script], options).await;
    let is_healthy =
        |event: &Event| matches!(event, Event::Health { health } if *health == Health::Healthy);
    agent.wait_for("a passed check", is_healthy).await;
    let prompt = agent.session.prompt(String::new(), true).await;
    prompt.expect("a prompt");
    let status = agent.exit().await;
    assert_eq!(status.reason.as_deref(), Some("unhealthy"), "{status:?}");
    agent.session.terminate(GRACE).await.expect("terminating");
}
