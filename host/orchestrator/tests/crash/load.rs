//! Killed at any moment while creates, stops and deletions are in flight.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_host::testing::RunningProgram;
use tokio::task::JoinSet;
use tokio::time::sleep;
use warp::http::Method;

use super::world::{Answered, World, kill, settled};

/// So many of each are in flight.
const AT_ONCE: usize = 10;

/// The latest moment of a kill after the requests were sent, in milliseconds. By then most of them
/// are answered.
const LATEST: u64 = 150;

/// A round: requests, a kill in the middle of them, a new start, and a check.
pub async fn round(world: &World, number: u64) {
    let daemon = world.start();
    let mut answered = BTreeMap::new();
    let requests = begin(world, &daemon, number, &mut answered).await;
    // The moment is a different one each time, and does not wait for anything.
    sleep(Duration::from_millis(number * 37 % LATEST)).await;
    kill(daemon).await;
    for (name, answer) in requests.join_all().await {
        answered.extend(answer.map(|answer| (name, answer)));
    }
    let daemon = world.start();
    world.check(&daemon, &answered).await;
    kill(daemon).await;
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
        answered.insert(name.clone(), Answered::Either);
        let delete = daemon.delete(&path).unless_cut();
        requests.spawn(async move {
            let deleted = delete.await.is_some_and(|answer| answer.status == 204);
            (name, deleted.then_some(Answered::Gone))
        });
    }
    for agent in there.iter().skip(AT_ONCE).take(AT_ONCE) {
        let (name, path) = (agent.name.clone(), format!("/agents/{}/stop", agent.id));
        answered.insert(name.clone(), Answered::There);
        let stop = daemon.request(Method::POST, &path).unless_cut();
        requests.spawn(async move {
            let stopped = stop.await.is_some_and(|answer| answer.status == 200);
            (name, stopped.then_some(Answered::Stopped))
        });
    }
    for number in 0..AT_ONCE {
        let name = format!("r{round}-{number}");
        let create = daemon.post("/agents", &world.request(&name)).unless_cut();
        requests.spawn(async move {
            let created = create.await.is_some_and(|answer| answer.status == 201);
            (name, created.then_some(Answered::Running))
        });
    }
    requests
}
