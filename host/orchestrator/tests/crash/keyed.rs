//! Killed during a create with a key, which its client repeats afterwards.

use agentd_host::testing::{Answer, RunningProgram, TestBackend, TestRequest};
use agentd_orchestrator::CrashPoint;
use serde_json::{Value, json};

use super::points::{armed, assert_killed, dies};
use super::world::{World, kill, settled};
use crate::tokens::with_token;

/// The create, with a key that no other point has.
fn create(daemon: &RunningProgram, body: &Value, point: CrashPoint) -> TestRequest {
    let create = daemon.post("/agents", body);
    create.header("idempotency-key", &format!("{point:?}"))
}

/// Kills the service at the point. The request has one agent and one answer then, however often it
/// is repeated.
pub async fn killed_at(point: CrashPoint, world: &World) {
    let body = world.request("keyed");
    let daemon = world.start_as(armed(world, point));
    let request = create(&daemon, &body, point);
    dies(daemon, Some(request), point).await;

    let daemon = world.start();
    let before = settled(&daemon).await;
    let answer = create(&daemon, &body, point).await.expect(201).json();
    if point == CrashPoint::CreateNoted {
        assert_eq!(answer["id"], before[0].id, "it was answered before");
    }
    let repeated = create(&daemon, &body, point).await.expect(201).json();
    assert_eq!(repeated, answer);
    world.has_only_owned(&daemon).await;
    let agents = settled(&daemon).await;
    assert_eq!(agents.len(), 1, "{point:?}: {agents:?}");
    assert_eq!(answer["id"], agents[0].id);
    kill(daemon).await;
    // Also for the service after the next.
    let daemon = world.start();
    let repeated = create(&daemon, &body, point).await.expect(201).json();
    assert_eq!(repeated, answer);
    assert_eq!(settled(&daemon).await.len(), 1);
    world.clear(&daemon).await;
}

/// The same of a create that fails: it has no agent, and the same refusal each time.
pub async fn killed_in_vain_at(point: CrashPoint, world: &World) {
    let mut body = world.request("keyed");
    match world.backend() {
        TestBackend::Docker(_) => body["options"] = json!({"cpu_limit": -1}),
        _ => body["command"] = json!(["/no/such/program"]),
    }
    let daemon = world.start_as(armed(world, point));
    let request = create(&daemon, &body, point);
    dies(daemon, Some(request), point).await;

    let daemon = world.start();
    for _ in 0..2 {
        let refused = create(&daemon, &body, point).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(settled(&daemon).await.len(), 0, "{point:?}");
    }
    world.clear(&daemon).await;
}

/// What a service answers to the request before it is killed at this write of its life, if it comes to that. None
/// if it is killed while it starts.
async fn answered_before(
    point: CrashPoint,
    number: usize,
    world: &World,
    request: impl Fn(&RunningProgram) -> TestRequest,
) -> Option<Option<Answer>> {
    let at = format!("{point:?}={number}*off->return");
    let program = world.program().env("FAILPOINTS", at);
    let mut daemon = match program.try_start_in(&world.state_dir()) {
        Ok(daemon) => daemon,
        Err(mut daemon) => {
            assert_killed(&mut daemon, point).await;
            return None;
        }
    };
    let answered = request(&daemon).unless_cut().await;
    match answered {
        Some(_) => kill(daemon).await,
        None => assert_killed(daemon.as_mut(), point).await,
    }
    Some(answered)
}

/// Kills the service at one write to the database after the other, beginning with its start, until
/// one is never come to before the create is answered. The request has one agent and one answer then.
/// How many of the writes were killed while the create was under way.
pub async fn killed_at_each_write(point: CrashPoint, world: &World) -> usize {
    let mut killed = 0;
    for number in 0.. {
        let body = world.request("keyed");
        let key = format!("{point:?}-{number}");
        let create = |daemon: &RunningProgram| {
            let create = daemon.post("/agents", &body);
            create.header("idempotency-key", &key)
        };
        let Some(answered) = answered_before(point, number, world, create).await else {
            continue;
        };

        let daemon = world.start();
        let answer = create(&daemon).await.expect(201).json();
        if let Some(answered) = &answered {
            assert_eq!(answer, answered.json(), "{key}");
        }
        let repeated = create(&daemon).await.expect(201).json();
        assert_eq!(repeated, answer, "{key}");
        world.has_only_owned(&daemon).await;
        let agents = settled(&daemon).await;
        assert_eq!(agents.len(), 1, "{key}: {agents:?}");
        assert_eq!(answer["id"], agents[0].id, "{key}");
        world.clear(&daemon).await;
        kill(daemon).await;
        if answered.is_some() {
            break;
        }
        killed += 1;
    }
    killed
}

/// Kills a service at one write to the database after the other while a token is made, until it is answered. There
/// is one token then, and its secret is the same however often the request is repeated.
pub async fn killed_while_a_token_is_made(point: CrashPoint, world: &World) -> usize {
    let mut killed = 0;
    for number in 0.. {
        let key = format!("{point:?}-{number}");
        let body = json!({"name": key, "scope": "read"});
        let make = |daemon: &RunningProgram| {
            let make = daemon.post("/tokens", &body);
            make.header("idempotency-key", &key)
        };
        let Some(answered) = answered_before(point, number, world, make).await else {
            continue;
        };

        let daemon = world.start();
        let answer = make(&daemon).await.expect(201).json();
        if let Some(answered) = &answered {
            assert_eq!(answer, answered.json(), "{key}");
        }
        assert_eq!(make(&daemon).await.expect(201).json(), answer, "{key}");
        let tokens = daemon.get("/tokens").await.expect(200).json();
        let of_this = tokens["items"].as_array().unwrap().iter();
        let of_this = of_this.filter(|token| token["name"] == key.as_str());
        assert_eq!(of_this.count(), 1, "{key}");
        let token = answer["token"].as_str().unwrap();
        let limited = with_token(&daemon, token);
        limited.get("/agents").await.expect(200);
        kill(daemon).await;
        if answered.is_some() {
            break;
        }
        killed += 1;
    }
    killed
}
