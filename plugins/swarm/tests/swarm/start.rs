//! Starts that are given up, that wait, and without a Swarm.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use futures_util::future::join_all;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::engine::Engine;
use crate::proxy::{Proxy, Trouble};
use crate::trial;
use crate::world::{GRACE, Workspace, World, connect, shared_engine};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(
        trials,
        "start::cancelled_starts_leave_nothing",
        cancelled_starts_leave_nothing,
    );
    trial(
        trials,
        "start::created_without_an_answer",
        created_without_an_answer,
    );
    trial(trials, "start::sixty_at_once", sixty_at_once);
    trial(trials, "start::no_node_has_so_much", no_node_has_so_much);
    trial(trials, "start::no_swarm", no_swarm);
    trial(
        trials,
        "start::leftovers_are_removed",
        leftovers_are_removed,
    );
}

async fn cancelled_starts_leave_nothing() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let mut cancelled = 0;
    for delay in [0, 1, 2, 5, 10, 20, 40, 80, 160, 300] {
        let options = json!({"network_policy": "isolated", "secrets": ["KEY"]});
        let mut spec = workspace.spec(&["sleep", "600"], options);
        spec.env.insert("KEY".to_owned(), "s3cret".to_owned());
        let id = spec.id.clone();
        let recorder = Recorder::new();
        let start = world.backend.start(spec, recorder.events());
        match timeout(Duration::from_millis(delay), start).await {
            Ok(session) => {
                let session = session.expect("starting");
                session.terminate(GRACE).await.expect("ending");
            }
            Err(_) => cancelled += 1,
        }
        // What undoes the start lets go of the events last.
        recorder.released().await;
        assert_eq!(world.remains(&id).await, [""; 0], "after {delay} ms");
    }
    assert!(cancelled > 0, "no start was cancelled");
}

/// A manager whose answer to the creation of a service is lost, and which makes it after that all
/// the same.
async fn created_without_an_answer() {
    let trouble = Trouble::LosesAnswer("/services/create");
    let proxy = Proxy::before(shared_engine().socket(), trouble);
    let world = World::on(&proxy.docker_host()).await;
    let workspace = Workspace::new();
    let spec = workspace.spec(&["sleep", "600"], json!({}));
    let id = spec.id.clone();
    let recorder = Recorder::new();
    let started = world.backend.start(spec, recorder.events()).await;
    assert!(started.is_err(), "nobody said that it was started");
    proxy.done().await;
    let gone = async {
        while !world.remains(&id).await.is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let gone = timeout(Duration::from_secs(30), gone).await;
    gone.expect("the service that was made without an answer");
}

async fn sixty_at_once() {
    let world = World::shared().await;
    let agents = (0..60).map(|_| world.start(&["sleep", "600"], json!({"memory_limit_mb": 64})));
    let agents = join_all(agents).await;
    for agent in &agents {
        agent.running().await;
    }
    join_all(agents.iter().map(|agent| agent.terminate())).await;
    for agent in &agents {
        assert_eq!(agent.exit().await, ExitStatus::signal(15));
    }
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

/// The scheduler's own words are the progress, and such an agent can be ended.
async fn no_node_has_so_much() {
    let world = World::shared().await;
    let options = json!({"memory_limit_mb": 16_000_000, "memory_reservation_mb": 16_000_000});
    let agent = world.start(&["sleep", "600"], options).await;
    let is_reason = |event: &Event| match event {
        Event::Starting { progress } => progress.contains("insufficient resources"),
        _ => false,
    };
    agent.wait_for("the scheduler's reason", is_reason).await;
    agent.terminate().await;
    let end = agent.end().await;
    assert!(matches!(end, Event::Lost { .. }), "{end:?}");
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

async fn no_swarm() {
    let engine = Engine::start();
    let mut config = World::shared().await.config.clone();
    let mut set = |name: &str, value: &str| {
        config.settings.insert(name.to_owned(), value.to_owned());
        config.clone()
    };
    let alone = connect(&set("DOCKER_HOST", &engine.docker_host())).await;
    let alone = alone.err().expect("there is no swarm");
    assert_eq!(alone.kind, ErrorKind::Unavailable);
    assert_eq!(alone.message, "this engine is not part of a swarm");
    assert!(alone.hint.expect("a hint").contains("docker swarm init"));

    let absent = connect(&set("DOCKER_HOST", "unix:///nonexistent/docker.sock")).await;
    let absent = absent.err().expect("there is no engine");
    assert_eq!(absent.kind, ErrorKind::Unavailable);

    let wrong = connect(&set("AGENTD_SWARM_HOST_NETWORK", "perhaps")).await;
    let wrong = wrong.err().expect("a wrong setting");
    assert_eq!(wrong.kind, ErrorKind::Invalid);
}

/// What a daemon that was killed during a start had made before the service.
async fn leftovers_are_removed() {
    let mut world = World::shared().await;
    let kept = world
        .start(&["sleep", "600"], json!({"network_policy": "isolated"}))
        .await;
    let session = crate::world::unique("session");
    let labels = [
        ("agentd.instance", world.config.instance.as_str()),
        ("agentd.session", session.as_str()),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let network = bollard::models::NetworkCreateRequest {
        name: session.clone(),
        driver: Some("overlay".to_owned()),
        internal: Some(true),
        labels: Some(labels.into()),
        ..Default::default()
    };
    world
        .docker
        .create_network(network)
        .await
        .expect("a network");
    assert_eq!(world.remains(&session).await.len(), 1);
    world.restart_daemon().await;
    let gone = async {
        while !world.remains(&session).await.is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), gone)
        .await
        .expect("removed");
    assert!(
        world.remains(&kept.id).await.len() >= 2,
        "what has a service stays"
    );
    world.adopt(&kept.id).await.terminate().await;
    assert_eq!(world.remains(&kept.id).await, [""; 0]);
}
