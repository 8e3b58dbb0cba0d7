//! Killed at any moment while creates, stops and deletions are in flight.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_host::testing::{RunningProgram, TestBackend};
use tokio::task::JoinSet;
use warp::http::Method;

use super::world as make;
use super::world::{Answered, World, kill, settled};

/// So many of each are in flight.
const AT_ONCE: usize = 10;

/// Does so many rounds, each of which ends with a check.
pub async fn rounds(world: &World, count: u64) {
    let mut daemon = world.start();
    let mut answered = BTreeMap::new();
    for round in 0..count {
        let requests = begin(world, &daemon, round, &mut answered).await;
        // Anywhere in what they do, which takes about that long.
        tokio::time::sleep(Duration::from_millis(round * 37 % 150)).await;
        daemon = kill(daemon).await;
        for (name, answer) in requests.join_all().await {
            answered.extend(answer.map(|answer| (name, answer)));
        }
        daemon = world.start_after(daemon, world.program());
        world.check(&daemon, &answered).await;
    }
    world.clear(&daemon).await;
}

type Requests = JoinSet<(String, Option<Answered>)>;

/// Sends all requests of a round: stops and deletions of agents that are there, and creates.
async fn begin(
    world: &World,
    daemon: &RunningProgram,
    round: u64,
    answered: &mut BTreeMap<String, Answered>,
) -> Requests {
    let mut requests = Requests::new();
    let there = settled(daemon).await;
    for agent in there.iter().take(AT_ONCE) {
        let (name, path) = (agent.name.clone(), format!("/agents/{}", agent.id));
        // Without an answer, either may be.
        answered.insert(name.clone(), Answered::Either);
        let delete = daemon.delete(&path).unless_cut();
        requests.spawn(async move {
            let deleted = delete.await.is_some_and(|answer| answer.status == 204);
            (name, deleted.then_some(Answered::Gone))
        });
    }
    for agent in there.iter().skip(AT_ONCE).take(AT_ONCE) {
        let path = format!("/agents/{}/stop", agent.id);
        let stop = daemon.request(Method::POST, &path).unless_cut();
        let name = agent.name.clone();
        requests.spawn(async move {
            stop.await;
            (name, None)
        });
    }
    for number in 0..AT_ONCE {
        let name = format!("r{round}-{number}");
        let create = daemon
            .post("/agents", &world.request(daemon, &name))
            .unless_cut();
        requests.spawn(async move {
            let created = create.await.is_some_and(|answer| answer.status == 201);
            (name, created.then_some(Answered::There))
        });
    }
    requests
}

#[tokio::test]
async fn killed_under_load_on_pty() {
    rounds(&make(Ok(TestBackend::pty())).unwrap(), 6).await;
}

#[tokio::test]
async fn killed_under_load_on_tmux() {
    if let Some(world) = make(TestBackend::tmux()) {
        rounds(&world, 6).await;
    }
}

#[tokio::test]
async fn killed_under_load_on_docker() {
    if let Some(world) = make(TestBackend::docker()) {
        rounds(&world, 4).await;
    }
}
