//! Starts that are given up, many at once, and without an engine.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use futures_util::future::{join_all, try_join_all};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::{sleep, timeout};

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
    trial(
        trials,
        "start::fifty_agents_start_at_once",
        fifty_agents_start_at_once,
    );
    trial(trials, "start::no_engine", no_engine);
    trial(
        trials,
        "start::slow_to_say_what_it_is",
        slow_to_say_what_it_is,
    );
}

async fn cancelled_starts_leave_nothing() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let mut cancelled = 0;
    for delay in [0, 1, 2, 5, 10, 20, 40, 80, 120, 160, 200, 250, 300, 400] {
        let spec = workspace.spec(&["sleep", "600"], json!({}));
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
        assert_eq!(world.containers(&id).await, [""; 0], "after {delay} ms");
    }
    assert!(cancelled > 0, "no start was cancelled");
}

/// An engine whose answer to the first creation of a container is lost, and which makes the
/// container after that all the same.
async fn created_without_an_answer() {
    let trouble = Trouble::LosesAnswer("/containers/create");
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
        while !world.containers(&id).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), gone)
        .await
        .expect("the container that was made without an answer");
}

async fn fifty_agents_start_at_once() {
    let world = World::shared().await;
    let agents = (0..50).map(|_| world.start(&["sleep", "600"], json!({"cpu_limit": 0.5})));
    let agents = join_all(agents).await;
    for agent in &agents {
        let events = agent.events.recorded().events;
        assert!(matches!(events[..], [Event::Running { .. }]), "{events:?}");
    }
    let ends = agents.iter().map(|agent| agent.session.terminate(GRACE));
    if let Err(error) = try_join_all(ends).await {
        panic!("ending all: {error}\n{}", shared_engine().condition());
    }
    for agent in &agents {
        assert_eq!(agent.exit().await, ExitStatus::signal(15));
    }
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

/// Fault: an engine answers pings, and takes longer to say its version than one that hangs is waited for, as beside
/// many containers that start. Then: the backend connects.
async fn slow_to_say_what_it_is() {
    let trouble = Trouble::Slow("/version", Duration::from_secs(6));
    let proxy = Proxy::before(shared_engine().socket(), trouble);
    let world = World::on(&proxy.docker_host()).await;
    let agent = world.sh("exit 3").await;
    assert_eq!(agent.exit().await, ExitStatus::code(3));
    agent.terminate().await;
}

async fn no_engine() {
    let world = World::shared().await;
    let mut config = world.config.clone();
    let mut set = |value: &str| {
        let name = "DOCKER_HOST".to_owned();
        config.settings.insert(name, value.to_owned());
        config.clone()
    };
    let absent = connect(&set("unix:///nonexistent/docker.sock")).await;
    let absent = absent.err().expect("there is no engine");
    assert_eq!(absent.kind, ErrorKind::Unavailable);
    assert!(
        absent.message.contains("unix:///nonexistent/docker.sock"),
        "{absent}"
    );
    assert!(absent.hint.expect("a hint").contains("DOCKER_HOST"));

    let closed = connect(&set("tcp://127.0.0.1:1"))
        .await
        .err()
        .expect("nobody listens");
    assert_eq!(closed.kind, ErrorKind::Unavailable);

    let wrong = connect(&set("ssh://somewhere"))
        .await
        .err()
        .expect("an unknown scheme");
    assert_eq!(wrong.kind, ErrorKind::Invalid);
}
