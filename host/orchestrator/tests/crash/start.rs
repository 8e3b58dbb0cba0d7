//! Killed in the middle of a start.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use agentd_host::testing::{TestBackend, eventually};
use serde_json::json;

use super::world;
use super::world::{Answered, kill, settled};
use crate::program::program;

/// Holds up the start between the making of the session and its labels, and keeps the session when
/// its program ends.
const CONFIGURATION: &str = "set-hook -g after-new-session 'run-shell \"sleep 1000\"'\n\
                             set -g remain-on-exit on\n";

#[tokio::test]
async fn a_tmux_session_without_labels_ends_with_the_next_start() {
    let Some(world) = world(TestBackend::tmux()) else {
        return;
    };
    fs::write(world.home().join(".tmux.conf"), CONFIGURATION).unwrap();
    let daemon = world.start();
    let body = world.request("demo");
    let client = daemon.post("/agents", &body).unless_cut();
    let create = tokio::spawn(client);
    eventually("a session", async || {
        (world.sessions() == [""]).then_some(())
    })
    .await;
    kill(daemon).await;
    assert!(create.await.unwrap().is_none());
    assert_eq!(world.sessions(), [""]);
    let daemon = world.start();
    world.check(&daemon, &BTreeMap::new()).await;
    world.clear(&daemon).await;
}

#[tokio::test]
async fn a_container_that_was_never_started_has_its_agent() {
    let Some(world) = world(TestBackend::docker()) else {
        return;
    };
    let TestBackend::Docker(engine) = world.backend() else {
        unreachable!("it is docker's")
    };
    let daemon = world.start();
    let body = world.request("demo");
    let agent = daemon.post("/agents", &body).await.expect(201).json();
    kill(daemon).await;
    // What is there between the creation of a container and its start.
    let docker = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        let output = docker
            .args(["--host", engine.docker_host()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let container = docker(&["ps", "--quiet"]);
    let labels = ["agentd.instance", "agentd.session", "agentd.label"].map(|label| {
        let format = format!("{{{{index .Config.Labels \"{label}\"}}}}");
        let value = docker(&["inspect", "--format", &format, &container]);
        format!("--label={label}={value}")
    });
    docker(&["rm", "--force", &container]);
    let create = [
        "create",
        &labels[0],
        &labels[1],
        &labels[2],
        engine.image(),
        "true",
    ];
    docker(&create);
    let daemon = world.start();
    let answered = BTreeMap::from([("demo".to_owned(), Answered::There)]);
    world.check(&daemon, &answered).await;
    let [lost] = &settled(&daemon).await[..] else {
        panic!("not one agent")
    };
    assert_eq!(agent["id"], lost.id);
    let exit = lost.session.as_ref().unwrap().exit.as_ref().unwrap();
    let reason = exit.reason.as_deref();
    assert_eq!(reason, Some("the container was never started"));
    world.clear(&daemon).await;
}

#[tokio::test]
async fn what_ignores_the_end_of_its_terminal_ends_with_the_next_start() {
    let world = world(Ok(TestBackend::pty())).unwrap();
    let daemon = world.start();
    let script = "trap '' HUP; exec sleep 1000";
    for name in ["one", "two", "three"] {
        let mut body = world.request(name);
        body["command"] = json!(["sh", "-c", script]);
        daemon.post("/agents", &body).await.expect(201);
    }
    eventually("they ignore it", async || {
        (world.processes().len() == 3).then_some(())
    })
    .await;
    // Of another service, which lives.
    let other = program().start();
    let body = world.request("other");
    other.post("/agents", &body).await.expect(201);
    kill(daemon).await;
    let daemon = world.start();
    let left = world.processes().into_iter().collect::<Vec<_>>();
    assert_eq!(left, ["other"]);
    drop(daemon);
}
