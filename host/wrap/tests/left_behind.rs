//! What a killed service leaves behind, and what the next one does about it.

use agentd_host::testing::{
    RunningProgram, TestBackend, TestSession, eventually, is_alive, leave_out,
};
use rustix::process::Signal;

use crate::program;

/// An agent of three processes that ignore SIGHUP: one of them left its session, one has no
/// variables.
async fn stubborn(daemon: &RunningProgram, name: &str) -> Vec<i32> {
    let script = "trap '' HUP; setsid sleep 1000 & echo $!; env -i sleep 1000 & echo $!; echo $$; \
                  wait";
    let session = daemon.script(name, script).await;
    pids(&session).await
}

async fn pids(session: &TestSession) -> Vec<i32> {
    eventually("the process ids", async || {
        let lines = session.logs("").await;
        let pids: Vec<i32> = lines.iter().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 3).then_some(pids)
    })
    .await
}

/// `None` with the reason printed where there is no tmux.
fn tmux() -> Option<TestBackend> {
    TestBackend::tmux()
        .map_err(|missing| leave_out(&missing))
        .ok()
}

fn kill_session(backend: &TestBackend, name: &str) {
    let TestBackend::Tmux(server) = backend else {
        unreachable!("it is tmux's")
    };
    server.list(&["kill-session", "-t", &format!("={name}")]);
}

fn living(pids: &[i32]) -> usize {
    pids.iter().filter(|pid| is_alive(**pid)).count()
}

#[tokio::test]
async fn what_a_killed_service_left_behind_ends_before_the_next_one_serves() {
    // A keeper leaves its agents to the next service.
    let ending = || program().without_keeper();
    let mut daemon = ending().start();
    let mut left = Vec::new();
    for number in 0..3 {
        left.extend(stubborn(&daemon, &format!("s{number}")).await);
    }
    // Another service, whose agents are its own, with a state directory of its own; and one that
    // shares the first's.
    let other = ending().start();
    let others = stubborn(&other, "other").await;
    let beside = ending().start_in(&daemon.state_dir());
    let besides = stubborn(&beside, "beside").await;

    daemon.signal(Signal::KILL);
    daemon.ended().await;
    assert_eq!(living(&left), 9, "they are what this is about");
    let _next = ending().start_after(daemon);
    assert_eq!(living(&left), 0);
    assert_eq!((living(&others), living(&besides)), (3, 3));
}

#[tokio::test]
async fn a_program_whose_tmux_session_somebody_killed_meanwhile_ends_with_the_next_start() {
    let (Some(backend), Some(elsewhere)) = (tmux(), tmux()) else {
        return;
    };
    let mut daemon = backend.configure(program()).start();
    let killed = stubborn(&daemon, "killed").await;
    let kept = stubborn(&daemon, "kept").await;
    // Another service on the same server; what it leaves behind is its own to end.
    let mut other = backend.configure(program()).start();
    let others = stubborn(&other, "other").await;
    for daemon in [&mut daemon, &mut other] {
        daemon.signal(Signal::KILL);
        daemon.ended().await;
    }
    for name in ["killed", "other"] {
        kill_session(&backend, name);
    }
    assert_eq!(living(&killed), 3, "they are what this is about");

    // With another backend they are nobody's, and live or not, they are left alone.
    let mut daemon = program().start_after(daemon);
    assert_eq!((living(&kept), living(&killed)), (3, 3));
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    // A service on another server does not know what becomes of those on the first.
    let mut daemon = elsewhere.configure(program()).start_after(daemon);
    assert_eq!((living(&kept), living(&others)), (3, 3));
    assert_eq!(living(&killed), 0, "nobody else will end them");
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = backend.configure(program()).start_after(daemon);
    assert_eq!((living(&kept), living(&others)), (3, 3));
    daemon.delete("/sessions/kept").await.expect(204);
    assert_eq!(living(&kept), 0);
    let _other = backend.configure(program()).start_after(other);
    assert_eq!(living(&others), 0);
}
