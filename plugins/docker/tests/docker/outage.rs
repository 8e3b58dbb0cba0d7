//! The engine stops, crashes, hangs and comes back. Each test has an engine of its own.

use std::panic::resume_unwind;
use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use libtest_mimic::Trial;
use serde_json::json;

use crate::engine::Engine;
use crate::image;
use crate::network::inside;
use crate::trial;
use crate::world::{Agent, GRACE, Workspace, World};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "outage::engine_stopped", engine_stopped);
    trial(
        trials,
        "outage::engine_stopped_over_tcp",
        engine_stopped_over_tcp,
    );
    trial(trials, "outage::engine_killed", engine_killed);
    trial(trials, "outage::live_restore", live_restore);
    trial(trials, "outage::engine_hangs", engine_hangs);
    trial(trials, "outage::daemon_starts_later", daemon_starts_later);
    trial(trials, "outage::left_behind", left_behind);
}

const TCP: &str = "tcp://127.0.0.1:2375";

async fn own_engine(flags: &'static [&'static str]) -> (Arc<Engine>, World) {
    let engine = blocking(move || Engine::start_with(flags)).await;
    image::build(&engine).await;
    let world = World::on(&engine.docker_host()).await;
    (Arc::new(engine), world)
}

pub async fn with(engine: &Arc<Engine>, act: fn(&Engine)) {
    let engine = engine.clone();
    blocking(move || act(&engine)).await;
}

pub async fn blocking<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Waits until the last event is `unknown`; it names the engine's address.
pub async fn unknown(agent: &Agent, address: &str) {
    agent
        .events
        .wait_for("unknown", |recorded| match recorded.events.last() {
            Some(Event::Unknown { reason }) => reason.contains(address),
            _ => false,
        })
        .await;
}

pub async fn running_again(agent: &Agent) {
    agent
        .events
        .wait_for("running again", |recorded| {
            matches!(
                recorded.events.last(),
                Some(Event::Running { pid: Some(_) })
            )
        })
        .await;
}

fn engine_stopped_status(status: ExitStatus) -> ExitStatus {
    ExitStatus {
        reason: Some("engine-stopped".to_owned()),
        ..status
    }
}

/// It reports on its open connections that its containers ended with 143: they did not end by
/// themselves.
/// Fault: the Docker engine is stopped and started again. Then: agents are unknown meanwhile, calls say that it
/// is not there, and their ends are exact.
async fn engine_stopped() {
    let (engine, world) = own_engine(&[]).await;
    stop_and_begin(&engine, &world, &engine.docker_host()).await;
}

/// The same over TCP.
/// Fault: an engine over TCP is stopped and started again. Then: as over its socket.
async fn engine_stopped_over_tcp() {
    let engine = blocking(|| Engine::start_with(&["--host", TCP, "--tls=false"])).await;
    image::build(&engine).await;
    let engine = Arc::new(engine);
    let network = engine.network_namespace();
    // The engine's loopback interface is another than ours.
    let test = move || {
        crate::runtime().block_on(async {
            let world = World::on(TCP).await;
            stop_and_begin(&engine, &world, TCP).await;
        });
    };
    blocking(move || inside(&network, test)).await;
}

async fn stop_and_begin(engine: &Arc<Engine>, world: &World, address: &str) {
    let agent = world.start(&["sleep", "600"], json!({})).await;
    let polite = world
        .sh("trap 'exit 0' TERM; echo ready; while true; do sleep 0.1; done")
        .await;
    polite.wait_for_line("ready").await;
    let earlier = world.sh("exit 3").await;
    assert_eq!(earlier.exit().await, ExitStatus::code(3));

    with(engine, Engine::stop).await;
    unknown(&agent, address).await;
    unknown(&polite, address).await;
    assert_eq!(
        earlier.exit().await,
        ExitStatus::code(3),
        "what has ended stays so"
    );
    let unavailable = |result: Result<()>| {
        assert_eq!(result.expect_err("no engine").kind, ErrorKind::Unavailable);
    };
    unavailable(agent.session.terminate(GRACE).await);
    unavailable(agent.session.prompt("x".to_owned(), true).await);
    let workspace = Workspace::new();
    let spec = workspace.spec(&["true"], json!({}));
    let refused = world
        .start_spec(spec, workspace)
        .await
        .err()
        .expect("no engine");
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.hint.is_some());

    with(engine, Engine::begin).await;
    let by_engine = engine_stopped_status(ExitStatus::signal(15));
    assert_eq!(agent.exit().await, by_engine);
    assert_eq!(
        polite.exit().await,
        engine_stopped_status(ExitStatus::code(0))
    );
    let later = world.sh("exit 4").await;
    assert_eq!(later.exit().await, ExitStatus::code(4));
    for agent in [agent, polite, earlier, later] {
        agent.terminate().await;
        assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
    }
}

/// Its containers outlive it, until it comes back and ends them.
/// Fault: the engine is killed. Then: its agents are unknown until it is back, and then ended by it.
async fn engine_killed() {
    let (engine, world) = own_engine(&[]).await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    with(&engine, Engine::kill).await;
    unknown(&agent, &engine.docker_host()).await;
    with(&engine, Engine::begin).await;
    let status = agent.exit().await;
    assert_eq!(
        status.reason.as_deref(),
        Some("engine-stopped"),
        "{status:?}"
    );
    agent.terminate().await;
}

/// Fault: the engine is stopped, or killed, with live-restore, as for its upgrade. Then: agents run on, and
/// what ended meanwhile has its exit.
async fn live_restore() {
    let (engine, world) = own_engine(&["--live-restore"]).await;
    let stays = world.start(&["cat"], json!({})).await;
    let script = "while test ! -e go; do sleep 0.1; done; touch gone; exit 7";
    let ends = world.sh(script).await;

    for way in [Engine::stop, Engine::kill] {
        with(&engine, way).await;
        unknown(&stays, &engine.docker_host()).await;
        with(&engine, Engine::begin).await;
        running_again(&stays).await;
    }
    stays
        .session
        .prompt("hello".to_owned(), true)
        .await
        .expect("a prompt");
    stays.wait_for_line("hello").await;

    with(&engine, Engine::stop).await;
    unknown(&ends, &engine.docker_host()).await;
    ends.file("go", Some(""));
    let gone = ends.workspace.path().join("gone");
    blocking(move || crate::engine::until("the agent's end", || gone.exists())).await;
    with(&engine, Engine::begin).await;
    assert_eq!(ends.exit().await, ExitStatus::code(7), "it ended by itself");
    running_again(&stays).await;
    stays.terminate().await;
    ends.terminate().await;
}

/// Fault: the engine does not answer. Then: agents are unknown and calls end with a sentence; all go on when it
/// does.
async fn engine_hangs() {
    let (engine, world) = own_engine(&[]).await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    with(&engine, Engine::freeze).await;
    unknown(&agent, &engine.docker_host()).await;
    let ended = agent.session.terminate(GRACE).await;
    assert_eq!(ended.expect_err("no answer").kind, ErrorKind::Unavailable);
    with(&engine, Engine::thaw).await;
    running_again(&agent).await;
    agent.terminate().await;
    assert_eq!(agent.exit().await, ExitStatus::signal(15));
}

/// Engine and daemon are both restarted, as by a reboot: adoption works from the labels.
/// Fault: engine and service are both restarted. Then: agents are taken over by their labels, with their ends.
async fn daemon_starts_later() {
    let (engine, mut world) = own_engine(&[]).await;
    let agent = world.start(&["sleep", "600"], json!({})).await;
    with(&engine, Engine::stop).await;
    with(&engine, Engine::begin).await;
    world.restart_daemon().await;
    let found = world.backend.list().await.expect("listing");
    assert_eq!(found.len(), 1);
    let recorder = agentd_plugin_api::testing::Recorder::new();
    let adopted = world
        .backend
        .adopt(found[0].id.clone(), recorder.events())
        .await;
    let events = recorder.recorded().events;
    assert!(matches!(events[..], [Event::Exited { .. }]), "{events:?}");
    adopted
        .expect("adopting")
        .terminate(GRACE)
        .await
        .expect("ending");
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

/// A start that the engine's end interrupts leaves nothing once the engine is back.
/// Fault: the engine dies among twenty starts. Then: what was not answered is removed when it is back.
async fn left_behind() {
    let (engine, world) = own_engine(&["--live-restore"]).await;
    let workspace = Workspace::new();
    // The engine dies somewhere among the starts.
    let starts = (0..20).map(|_| {
        let spec = workspace.spec(&["sleep", "600"], json!({}));
        let events = agentd_plugin_api::testing::Recorder::new();
        let backend = &world.backend;
        async move { backend.start(spec, events.events()).await }
    });
    let (started, ()) = tokio::join!(
        futures_util::future::join_all(starts),
        with(&engine, Engine::kill)
    );
    with(&engine, Engine::begin).await;
    let mut sessions = Vec::new();
    for result in started {
        match result {
            Ok(session) => sessions.push(session),
            Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{error}"),
        }
    }
    assert!(sessions.len() < 20, "no start was interrupted");
    let kept = sessions.len();
    let only_those = async {
        while world.backend.list().await.expect("listing").len() != kept {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, only_those)
        .await
        .expect("what was interrupted to be removed");
    for session in sessions {
        session.terminate(GRACE).await.expect("ending");
    }
}
