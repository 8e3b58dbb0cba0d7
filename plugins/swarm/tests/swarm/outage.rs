//! While the manager is away.

use agentd_plugin_api::prelude::*;
use libtest_mimic::Trial;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::trial;
use crate::world::{Agent, GRACE, World, swarm};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "outage::a_manager_that_hangs", a_manager_that_hangs);
    trial(
        trials,
        "outage::a_manager_that_hung_a_moment_ago",
        a_manager_that_hung_a_moment_ago,
    );
    trial(
        trials,
        "outage::an_engine_that_is_stopped",
        an_engine_that_is_stopped,
    );
}

/// Its agents are unknown, and run again when it answers.
async fn a_manager_that_hangs() {
    let engine = swarm().await;
    let world = World::on(&engine.docker_host()).await;
    let agent = agent_of_a_frozen(&engine, &world).await;
    engine.thaw();
    let recorded = agent.events.wait_for("the return", |recorded| {
        matches!(recorded.events.last(), Some(Event::Running { .. }))
    });
    recorded.await;
    agent.terminate().await;
    // Swarm itself ends a task when its managers have not heard of the node for 15 s.
    assert_eq!(agent.exit().await.signal, Some(15));
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

/// It takes its own node for one that is down, as it has not heard of it, and the engine knows.
async fn a_manager_that_hung_a_moment_ago() {
    let engine = swarm().await;
    let world = World::on(&engine.docker_host()).await;
    let agent = agent_of_a_frozen(&engine, &world).await;
    engine.thaw();
    let ended = async {
        while let Err(error) = agent.session.terminate(GRACE).await {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
        }
    };
    let ended = timeout(Duration::from_secs(60), ended).await;
    ended.expect("an end");
    assert_eq!(agent.exit().await.signal, Some(15));
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
}

/// An agent that is unknown, and cannot be ended.
async fn agent_of_a_frozen(engine: &Engine, world: &World) -> Agent {
    let agent = world.sh("exec sleep 600").await;
    agent.running().await;
    engine.freeze();
    let is_unknown = |event: &Event| matches!(event, Event::Unknown { .. });
    agent.wait_for("the outage", is_unknown).await;
    let ending = agent.session.terminate(GRACE);
    let ended = timeout(Duration::from_secs(30), ending).await;
    let ended = ended.expect("an answer").expect_err("no manager");
    assert_eq!(ended.kind, ErrorKind::Unavailable);
    agent
}

/// It ends its containers, and says so when it is back.
async fn an_engine_that_is_stopped() {
    let engine = swarm().await;
    let world = World::on(&engine.docker_host()).await;
    let agent = world.sh("exec sleep 600").await;
    agent.running().await;
    engine.stop();
    let is_unknown = |event: &Event| matches!(event, Event::Unknown { .. });
    agent.wait_for("the outage", is_unknown).await;
    engine.begin();
    let status = agent.exit().await;
    assert_eq!(
        status.reason.as_deref(),
        Some("engine-stopped"),
        "{status:?}"
    );
    agent.terminate().await;
    assert_eq!(world.remains(&agent.id).await, [""; 0]);
    let next = world.sh("exit 4").await;
    assert_eq!(next.exit().await, ExitStatus::code(4));
    next.terminate().await;
}
