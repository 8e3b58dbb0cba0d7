//! Killed at one write to the database after the other.

use std::collections::BTreeMap;

use agentd_host::testing::{RunningProgram, TestRequest};
use agentd_orchestrator::CrashPoint;
use warp::http::Method;

use super::points::assert_killed;
use super::world::{Answered, World, kill};

/// What an agent that runs is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Stop,
    Restart,
    Delete,
}

impl Request {
    pub const ALL: [Request; 3] = [Request::Stop, Request::Restart, Request::Delete];

    fn of(self, daemon: &RunningProgram, id: &str) -> TestRequest {
        match self {
            Request::Stop => daemon.request(Method::POST, &format!("/agents/{id}/stop")),
            Request::Restart => daemon.request(Method::POST, &format!("/agents/{id}/restart")),
            Request::Delete => daemon.delete(&format!("/agents/{id}")),
        }
    }

    /// What holds once it was answered.
    fn answered(self) -> Answered {
        match self {
            Request::Stop => Answered::Stopped,
            Request::Restart => Answered::Running,
            Request::Delete => Answered::Gone,
        }
    }
}

/// Kills the service at the point in one write after the other, beginning with its start, until the request
/// is answered before that. How many of the writes were killed while the request was under way.
pub async fn killed_at_each(point: CrashPoint, request: Request, world: &World) -> usize {
    let mut killed = 0;
    for number in 0.. {
        let daemon = world.start();
        let created = daemon.post("/agents", &world.request("demo")).await;
        let id = created.expect(201).json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        kill(daemon).await;

        let program = world
            .program()
            .env("FAILPOINTS", format!("{point:?}={number}*off->return"));
        let mut answer = Answered::There;
        match program.try_start_in(&world.state_dir()) {
            Err(mut daemon) => assert_killed(&mut daemon, point).await,
            Ok(mut daemon) => match request.of(&daemon, &id).unless_cut().await {
                Some(answered) => {
                    assert!([200, 204].contains(&answered.status), "{answered:?}");
                    answer = request.answered();
                    kill(daemon).await;
                }
                None => {
                    assert_killed(daemon.as_mut(), point).await;
                    killed += 1;
                    if request == Request::Delete {
                        answer = Answered::Either;
                    }
                }
            },
        }
        let daemon = world.start();
        world
            .check(&daemon, &BTreeMap::from([("demo".to_owned(), answer)]))
            .await;
        world.clear(&daemon).await;
        kill(daemon).await;
        if answer == request.answered() {
            break;
        }
    }
    killed
}
