//! What a killed service leaves behind, and what the next one does about it.

use agentd_host::testing::{RunningProgram, TestSession, eventually, is_alive};
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

fn living(pids: &[i32]) -> usize {
    pids.iter().filter(|pid| is_alive(**pid)).count()
}

#[tokio::test]
async fn what_a_killed_service_left_behind_ends_before_the_next_one_serves() {
    let mut daemon = program().start();
    let mut left = Vec::new();
    for number in 0..3 {
        left.extend(stubborn(&daemon, &format!("s{number}")).await);
    }
    // Another service, whose agents are its own, with a state directory of its own; and one that
    // shares the first's.
    let other = program().start();
    let others = stubborn(&other, "other").await;
    let beside = program().start_in(&daemon.state_dir());
    let besides = stubborn(&beside, "beside").await;

    daemon.signal(Signal::KILL);
    daemon.ended().await;
    assert_eq!(living(&left), 9, "they are what this is about");
    let _next = program().start_after(daemon);
    assert_eq!(living(&left), 0);
    assert_eq!((living(&others), living(&besides)), (3, 3));
}
