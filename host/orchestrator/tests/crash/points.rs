//! Killed at each of the crash points.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use agentd_host::testing::{RunningProgram, SpawnedProgram, TestBackend, TestProgram, TestRequest};
use agentd_orchestrator::CrashPoint;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;
use warp::http::Method;

use super::world::{Answered, World, kill, settled};

/// Within this time a service comes to its point: longer than any end takes.
const REACHED: Duration = Duration::from_secs(40);

/// Agents that are used for one point after another.
const STAYING: [&str; 2] = ["kept", "stopped"];

/// What comes to a point.
enum Way {
    /// A service that starts, and what it does by itself afterwards.
    Start,
    Create,
    /// Of an agent that cannot be started.
    CreateInVain,
    Stop,
    Restart,
    /// Of an agent that cannot be started any more.
    RestartInVain,
    Delete,
    /// Of an agent whose program ends, and which is started again as its policy wants.
    Policy,
    /// Of one that cannot be started any more.
    PolicyInVain,
}

/// How a point is come to; none where nothing comes to it with this backend.
fn way(point: CrashPoint, world: &World) -> Option<Way> {
    use CrashPoint::*;
    Some(match point {
        CreateBegun | CreateRecorded | CreateStarted | CreateNoted => Way::Create,
        CreateFailed | CreateForgotten => Way::CreateInVain,
        StopBegun | StopWished | StopEnded | StopNoted => Way::Stop,
        RestartBegun | RestartOldEnded | RestartRecorded | RestartStarted | RestartNoted => {
            Way::Restart
        }
        RestartFailed | RestartFailureNoted => Way::RestartInVain,
        DeleteBegun | DeleteWished | DeleteEnded | DeleteRemoved => Way::Delete,
        SessionEnded | PolicyPlanned | PolicyDue | PolicyOldEnded | PolicyRecorded
        | PolicyStarted | PolicyNoted => Way::Policy,
        PolicyFailed | PolicyFailureNoted => Way::PolicyInVain,
        // What ends in a keeper has ended, and is never missing.
        ReconcileExplained if matches!(world.backend(), TestBackend::Kept) => return None,
        AdoptBegun | AdoptTaken | AdoptNoted => world.is_persistent().then_some(Way::Start)?,
        ReconcileBegun | ReconcileLooked | ReconcileListed | ReconcileExplained
        | ReconcileEnding | ReconcileEnded | DatabaseWritten | DatabaseCommitted
        | DatabaseSynced => Way::Start,
        // See `silent.rs`, `rare.rs` and `prompts.rs`.
        DeleteFailed | DeleteKept | DeleteAbandoning | DeleteAbandoned | OutputTaken
        | OutputKept | OverlookedFound | OverlookedPlanned | UnownedEnded | PromptDue
        | PromptTaken => return None,
    })
}

/// Kills a service at the point, and checks what the next one makes of it. False where nothing
/// comes to the point with this backend. [`STAYING`] agents are left where agents outlive a service.
pub async fn killed_at(point: CrashPoint, world: &World) -> bool {
    let Some(way) = way(point, world) else {
        return false;
    };
    let daemon = world.start();
    let there = settled(&daemon).await;
    let mut ids: BTreeMap<String, String> = there
        .into_iter()
        .map(|agent| (agent.name, agent.id))
        .collect();
    let needed = [&STAYING[..], &["other"]].concat();
    let fragile = matches!(way, Way::RestartInVain).then_some("fragile");
    let missing = needed.into_iter().chain(fragile);
    let missing: Vec<&str> = missing.filter(|name| !ids.contains_key(*name)).collect();
    let created = missing.iter().map(async |name| {
        let mut body = world.request(name);
        if *name == "fragile" {
            make_fragile(world, &mut body);
        }
        let agent = daemon.post("/agents", &body).await.expect(201).json();
        let id = agent["id"].as_str().unwrap().to_owned();
        if *name == "stopped" {
            let stop = daemon.request(Method::POST, &format!("/agents/{id}/stop"));
            stop.await.expect(200);
        }
        ((*name).to_owned(), id)
    });
    ids.extend(join_all(created).await);
    let running = |name: &String| (name.clone(), Answered::Running);
    let mut answered: BTreeMap<_, _> = ids.keys().map(running).collect();
    answered.insert("stopped".to_owned(), Answered::Stopped);
    kill(daemon).await;

    let path = |name: &str, verb: &str| format!("/agents/{}{verb}", ids[name]);
    match point {
        CrashPoint::ReconcileExplained => {
            lose(world, "other");
            answered.insert("other".to_owned(), Answered::There);
        }
        CrashPoint::ReconcileEnding | CrashPoint::ReconcileEnded => {
            let daemon = world.start_as(armed(world, CrashPoint::DeleteWished));
            let delete = daemon.delete(&path("other", ""));
            dies(daemon, Some(delete), CrashPoint::DeleteWished).await;
            answered.insert("other".to_owned(), Answered::Gone);
        }
        _ => {}
    }
    let program = armed(world, point);
    if matches!(way, Way::Start) {
        assert_killed(&mut program.spawn(), point).await;
    } else if matches!(way, Way::Policy | Way::PolicyInVain) {
        let daemon = world.start_as(program);
        let mut body = world.request("again");
        body["restart"] = json!("on-failure");
        if matches!(way, Way::PolicyInVain) {
            make_fragile(world, &mut body);
        }
        daemon.post("/agents", &body).await.expect(201);
        let answer = match way {
            Way::PolicyInVain => {
                fs::remove_file(world.work_dir().join("needed")).unwrap();
                Answered::There
            }
            _ => Answered::Again,
        };
        answered.insert("again".to_owned(), answer);
        world.kill_program("again").await;
        dies(daemon, None, point).await;
    } else {
        let daemon = world.start_as(program);
        if matches!(way, Way::Stop) && !world.is_persistent() {
            let restart = daemon.request(Method::POST, &path("other", "/restart"));
            restart.await.expect(200);
        }
        let other = |verb| daemon.request(Method::POST, &path("other", verb));
        let (name, request, answer) = match way {
            Way::Start | Way::Policy | Way::PolicyInVain => unreachable!("it is done"),
            Way::Create => {
                let create = daemon.post("/agents", &world.request("new"));
                let answer = match point {
                    CrashPoint::CreateBegun => Answered::Either,
                    _ => Answered::There,
                };
                ("new", create, answer)
            }
            Way::CreateInVain => {
                let mut body = world.request("new");
                match world.backend() {
                    TestBackend::Docker(_) => body["options"] = json!({"cpu_limit": -1}),
                    _ => body["command"] = json!(["/no/such/program"]),
                }
                ("new", daemon.post("/agents", &body), Answered::Either)
            }
            Way::Stop if point == CrashPoint::StopBegun => {
                ("other", other("/stop"), Answered::There)
            }
            Way::Stop => ("other", other("/stop"), Answered::ToBeStopped),
            Way::Restart => ("other", other("/restart"), Answered::There),
            Way::RestartInVain => {
                fs::remove_file(world.work_dir().join("needed")).unwrap();
                let restart = daemon.request(Method::POST, &path("fragile", "/restart"));
                ("fragile", restart, Answered::There)
            }
            Way::Delete if point == CrashPoint::DeleteBegun => {
                ("other", daemon.delete(&path("other", "")), Answered::There)
            }
            Way::Delete => ("other", daemon.delete(&path("other", "")), Answered::Gone),
        };
        answered.insert(name.to_owned(), answer);
        dies(daemon, Some(request), point).await;
    }

    let daemon = world.start();
    world.check(&daemon, &answered).await;
    match world.is_persistent() {
        true => world.clear_but(&daemon, &STAYING).await,
        false => world.clear(&daemon).await,
    }
    true
}

/// A service that is killed at the point.
pub fn armed(world: &World, point: CrashPoint) -> TestProgram {
    world
        .program()
        .env("FAILPOINTS", format!("{point:?}=return"))
}

/// Sends the request, which has the service die at the point, without an answer.
pub async fn dies(mut daemon: RunningProgram, request: Option<TestRequest>, point: CrashPoint) {
    let request = request.map(|request| tokio::spawn(request.unless_cut()));
    assert_killed(daemon.as_mut(), point).await;
    if let Some(request) = request {
        let answer = request.await.unwrap();
        assert!(answer.is_none(), "{point:?}: {answer:?}");
    }
}

/// Waits until the service is killed at the point.
pub async fn assert_killed(daemon: &mut SpawnedProgram, point: CrashPoint) {
    let ended = timeout(REACHED, daemon.ended()).await;
    let killed = ended.is_ok_and(|status| status.signal() == Some(Signal::KILL.as_raw()));
    assert!(killed, "{point:?} was not reached\n{}", daemon.log());
}

/// Has the agent need a file, without which it cannot be started again.
fn make_fragile(world: &World, body: &mut Value) {
    let needed = world.work_dir().join("needed");
    fs::write(&needed, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&needed, fs::Permissions::from_mode(0o755)).unwrap();
    match world.backend() {
        TestBackend::Docker(_) => {
            let mount = json!({"host_path": needed, "container_path": "/needed"});
            body["options"] = json!({"mounts": [mount]});
        }
        _ => body["command"] = json!([needed]),
    }
}

/// Takes an agent away from the backend, as somebody else may do.
fn lose(world: &World, name: &str) {
    match world.backend() {
        TestBackend::Pty | TestBackend::Kept => {}
        TestBackend::Tmux(server) => {
            server.list(&["kill-session", "-t", &format!("={name}")]);
        }
        TestBackend::Docker(engine) => {
            let filter = format!("name=agentd-{name}-");
            let found = engine.list(&["ps", "--quiet", "--filter", &filter]);
            engine.list(&["rm", "--force", &found[0]]);
        }
    }
}
