//! The engine is stopped and comes back as another version, with what it had.

use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use libtest_mimic::Trial;
use serde_json::json;

use crate::engine::{Engine, until};
use crate::front::{Front, NEW, OLD, Version};
use crate::image;
use crate::outage::{blocking, running_again, unknown, with};
use crate::trial;
use crate::world::{Agent, GRACE, World};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "upgrade::with_live_restore", with_live_restore);
    trial(trials, "upgrade::with_its_agents", with_its_agents);
}

/// An engine that is to be upgraded, what stands before it, and its agents' world.
struct Upgraded {
    engine: Arc<Engine>,
    front: Arc<Front>,
    world: World,
}

impl Upgraded {
    async fn begin(flags: &'static [&'static str]) -> Self {
        let engine = blocking(move || Engine::start_with(flags)).await;
        image::build(&engine).await;
        let front = Arc::new(Front::of(&engine.socket(), OLD));
        let world = World::on(&front.docker_host()).await;
        Upgraded {
            engine: Arc::new(engine),
            front,
            world,
        }
    }

    async fn stop(&self, agents: &[&Agent]) {
        with(&self.engine, Engine::stop).await;
        for agent in agents {
            unknown(agent, &self.front.docker_host()).await;
        }
    }

    async fn come_back(&self, version: Version) {
        self.front.become_version(version);
        with(&self.engine, Engine::begin).await;
        let said = self.world.docker.version().await.expect("its version");
        assert_eq!(said.version.as_deref(), Some(version.name));
    }

    /// Waits until nothing is connected but what follows the events.
    async fn only_events_are_followed(&self) {
        let front = self.front.clone();
        blocking(move || until("all other connections to end", || front.open() <= 1)).await;
    }
}

/// One that an upgrade elsewhere is nothing to.
async fn bystander(world: &World) -> (Agent, Vec<Event>) {
    let agent = world.start(&["cat"], json!({})).await;
    running_again(&agent).await;
    let events = agent.events.recorded().events;
    (agent, events)
}

async fn has_noticed_nothing(agent: &Agent, before: &[Event]) {
    let prompt = agent.session.prompt("still here".to_owned(), true);
    prompt.await.expect("a prompt");
    agent.wait_for_line("still here").await;
    assert_eq!(agent.events.recorded().events, before);
}

/// Fault: the engine is upgraded under running agents, with live-restore, to a version that takes nothing of the old
/// API, and put back. Then: agents run on and were not started again, those that ended meanwhile have their exit, others
/// notice nothing, and nothing is left.
async fn with_live_restore() {
    let upgraded = Upgraded::begin(&["--live-restore"]).await;
    let elsewhere = World::shared().await;
    let (other, before) = bystander(&elsewhere).await;
    let world = &upgraded.world;
    let stays = world.start(&["cat"], json!({})).await;
    let identity = async || {
        let found = world.inspect(&stays).await;
        let state = found.state.expect("a state");
        (found.id, state.pid, state.started_at, found.restart_count)
    };
    let first = identity().await;

    for version in [NEW, OLD] {
        let ends = world
            .sh("while test ! -e go; do sleep 0.1; done; touch gone; exit 7")
            .await;
        upgraded.stop(&[&stays, &ends]).await;
        ends.file("go", Some(""));
        let gone = ends.workspace.path().join("gone");
        blocking(move || until("the agent's end", || gone.exists())).await;
        upgraded.come_back(version).await;
        running_again(&stays).await;
        assert_eq!(ends.exit().await, ExitStatus::code(7));
        ends.terminate().await;
        assert_eq!(identity().await, first);
        let line = format!("hello {}", version.name);
        let prompt = stays.session.prompt(line.clone(), true);
        prompt.await.expect("a prompt");
        stays.wait_for_line(&line).await;
        let later = world.sh("exit 4").await;
        assert_eq!(later.exit().await, ExitStatus::code(4));
        later.terminate().await;
        upgraded.only_events_are_followed().await;
    }
    has_noticed_nothing(&other, &before).await;
    other.terminate().await;
    stays.terminate().await;
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

/// Fault: the engine is upgraded without live-restore, and the service is started anew on the new version. Then: agents
/// have ended by it, once, are taken over with their ends, others notice nothing, and nothing is left.
async fn with_its_agents() {
    let mut upgraded = Upgraded::begin(&[]).await;
    let elsewhere = World::shared().await;
    let (other, before) = bystander(&elsewhere).await;
    let agent = upgraded.world.start(&["sleep", "600"], json!({})).await;
    upgraded.stop(&[&agent]).await;
    upgraded.come_back(NEW).await;
    let ended = ExitStatus {
        reason: Some("engine-stopped".to_owned()),
        ..ExitStatus::signal(15)
    };
    assert_eq!(agent.exit().await, ended);
    let restarts = upgraded.world.inspect(&agent).await.restart_count;
    assert_eq!(restarts.unwrap_or(0), 0);

    upgraded.world.restart_daemon().await;
    let world = &upgraded.world;
    let found = world.backend.list().await.expect("listing");
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, [agent.id.as_str()]);
    let recorder = Recorder::new();
    let adopted = world.backend.adopt(agent.id.clone(), recorder.events());
    let adopted = adopted.await.expect("adopting");
    let events = recorder.recorded().events;
    assert!(matches!(events[..], [Event::Exited { .. }]), "{events:?}");
    adopted.terminate(GRACE).await.expect("ending");
    // The service before has gone by now.
    drop(agent);
    assert_eq!(world.backend.list().await.expect("listing"), []);
    let later = world.sh("exit 4").await;
    assert_eq!(later.exit().await, ExitStatus::code(4));
    later.terminate().await;
    upgraded.only_events_are_followed().await;
    has_noticed_nothing(&other, &before).await;
    other.terminate().await;
}
