//! Killed while what stands between the service and its agents does not answer: during deletions that fail, and
//! deletions by force.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agentd_api::{Agent, AgentStatus, State};
use agentd_host::testing::{RunningProgram, TestBackend, eventually, processes_of};
use agentd_orchestrator::CrashPoint;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::timeout;
use warp::http::Method;

use super::points::{armed, assert_killed};
use super::world::{World, kill, settled};

/// Longer than any backend waits for its engine.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// Kills the service at a point of a deletion that comes to nothing, or of one by force.
pub async fn killed_during_a_deletion(point: CrashPoint, world: &World) {
    let query = match point {
        CrashPoint::DeleteAbandoning | CrashPoint::DeleteAbandoned => "?force=true",
        _ => "",
    };
    let mut daemon = world.start_as(armed(world, point));
    let path = create(&daemon, world).await;
    let silence = Silence::of(world);
    if matches!(world.backend(), TestBackend::Docker(_)) {
        // One that begins before this is known waits for minutes.
        let unknown = async || {
            let agent: Agent = daemon.get(&path).await.expect(200).parse();
            let state = agent.session.map(|session| session.state);
            (state == Some(State::Unknown)).then_some(())
        };
        eventually("the engine's silence", unknown).await;
    }
    let delete = daemon.delete(&format!("{path}{query}"));
    let answer = timeout(GIVEN_UP, delete.unless_cut()).await;
    let answer = answer.unwrap_or_else(|_| panic!("{point:?} was not reached\n{}", daemon.log()));
    assert!(answer.is_none(), "{point:?}: {answer:?}");
    assert_killed(daemon.as_mut(), point).await;
    drop(silence);

    let daemon = world.start();
    if point == CrashPoint::DeleteKept {
        // Its client knows that it is still there, and may go on with it.
        let stopped = async || {
            let agent: Agent = daemon.get(&path).await.expect(200).parse();
            (agent.status == AgentStatus::Stopped).then_some(())
        };
        eventually("its end", stopped).await;
        daemon.delete(&path).await.expect(204);
    }
    nothing_is_left(&daemon, world).await;
    kill(daemon).await;
}

/// Kills the service when it has ended a session that was left over by a deletion by force.
pub async fn killed_at_the_end_of_what_nobody_owns(world: &World) {
    let point = CrashPoint::UnownedEnded;
    let daemon = world.start();
    let path = create(&daemon, world).await;
    let silence = Silence::of(world);
    let delete = daemon.delete(&format!("{path}?force=true"));
    delete.await.expect(204);
    kill(daemon).await;
    drop(silence);
    assert_killed(&mut armed(world, point).spawn(), point).await;
    let daemon = world.start();
    nothing_is_left(&daemon, world).await;
    kill(daemon).await;
}

/// Kills the service while it plans a restart that nobody has planned, as a start does whose client has left.
pub async fn killed_while_a_restart_is_planned(point: CrashPoint, world: &World) {
    let daemon = world.start();
    let mut body = world.request("demo");
    body["restart"] = json!("on-failure");
    daemon.post("/agents", &body).await.expect(201);
    let [agent] = &settled(&daemon).await[..] else {
        panic!("not one agent")
    };
    let stop = format!("/agents/{}/stop", agent.id);
    daemon.request(Method::POST, &stop).await.expect(200);
    kill(daemon).await;
    change(
        world,
        "UPDATE agents SET wish = 'running', status = 'failed', session = NULL, session_id = NULL",
    );
    assert_killed(&mut armed(world, point).spawn(), point).await;
    let daemon = world.start();
    let runs = async || {
        let agents = settled(&daemon).await;
        (agents[0].status == AgentStatus::Running).then_some(())
    };
    eventually("its restart", runs).await;
    world.clear(&daemon).await;
    kill(daemon).await;
}

async fn create(daemon: &RunningProgram, world: &World) -> String {
    let created = daemon.post("/agents", &world.request("demo"));
    let agent: Agent = created.await.expect(201).parse();
    format!("/agents/{}", agent.id)
}

/// Changes the records while no service has them.
fn change(world: &World, statement: &str) {
    let records = Connection::open(world.state_dir().join("orchestrator.db")).unwrap();
    assert!(records.execute(statement, []).unwrap() > 0);
}

/// Waits until there are no agents, and nothing of them.
async fn nothing_is_left(daemon: &RunningProgram, world: &World) {
    eventually("nothing is left", async || {
        let agents = settled(daemon).await.len();
        let left = (agents, world.sessions().len(), world.processes().len());
        (left == (0, 0, 0)).then_some(())
    })
    .await;
}

/// What a backend needs an answer of, stopped until this is dropped: the keeper, tmux server or engine.
struct Silence(Pid);

impl Silence {
    fn of(world: &World) -> Self {
        let pids = match world.backend() {
            TestBackend::Pty => Vec::new(),
            TestBackend::Kept => {
                those_of(world.home(), |command| command.contains("keep-terminals"))
            }
            TestBackend::Tmux(server) => {
                let pids = server.list(&["display-message", "-p", "#{pid}"]);
                let pid = |text: &String| Pid::from_raw(text.parse().unwrap());
                pids.iter().filter_map(pid).collect()
            }
            TestBackend::Docker(engine) => {
                let socket = engine.docker_host().trim_start_matches("unix://");
                let is_engine = |command: &str| {
                    let program = command.split('\0').next();
                    program.is_some_and(|program| program.ends_with("dockerd"))
                };
                those_of(Path::new(socket), is_engine)
            }
        };
        let [pid] = pids[..] else {
            panic!("not one process: {pids:?}")
        };
        kill_process(pid, Signal::STOP).unwrap();
        Silence(pid)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// The processes of that place with such a command, whose words NUL separates.
fn those_of(place: &Path, is_one: impl Fn(&str) -> bool) -> Vec<Pid> {
    let command = |pid: &Pid| {
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        is_one(&String::from_utf8_lossy(&command.unwrap_or_default()))
    };
    processes_of(place).into_iter().filter(command).collect()
}
