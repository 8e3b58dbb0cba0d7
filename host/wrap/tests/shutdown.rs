use agentd_host::testing::{DEADLINE, RunningProgram, TestSession, eventually, is_alive};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::program;

/// Leaves its session, ignores SIGHUP and SIGTERM, and prints its process ids.
const STUBBORN: &str = "setsid sh -c 'trap \"\" HUP TERM; echo $$; while :; do sleep 1; done' & \
                        trap '' HUP TERM; echo $$; while :; do sleep 1; done";

async fn pids(session: &TestSession, count: usize) -> Vec<i32> {
    eventually("the process ids", async || {
        let lines = session.logs("").await;
        let pids: Vec<i32> = lines
            .iter()
            .filter_map(|line| line.trim().parse().ok())
            .collect();
        (pids.len() == count).then_some(pids)
    })
    .await
}

async fn ends_well(daemon: &mut RunningProgram, signal: Signal) {
    daemon.signal(signal);
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{status}: {}", daemon.log());
}

#[tokio::test]
async fn both_signals_end_a_service_without_sessions() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = program().start();
        daemon.get("/info").await.expect(200);
        ends_well(&mut daemon, signal).await;
    }
}

#[tokio::test]
async fn agents_end_with_the_service() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = program().start();
        let script = "setsid sleep 1000 & echo $!; nohup sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; \
                      echo $$; cat";
        let mut all = Vec::new();
        for name in ["a", "b", "c"] {
            let session = daemon.script(name, script).await;
            all.extend(pids(&session, 3).await);
        }
        ends_well(&mut daemon, signal).await;
        all.retain(|pid| is_alive(*pid));
        assert_eq!(all, [0; 0]);
    }
}

#[tokio::test]
async fn agents_that_ignore_signals_end_with_the_service() {
    let mut daemon = program().start();
    let session = daemon.script("demo", STUBBORN).await;
    let mut all = pids(&session, 2).await;
    ends_well(&mut daemon, Signal::TERM).await;
    all.retain(|pid| is_alive(*pid));
    assert_eq!(all, [0; 0]);
}

#[tokio::test]
async fn open_connections_are_closed_at_shutdown() {
    let mut daemon = program().start();
    let session = daemon.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    let mut logs = daemon.get("/sessions/demo/logs?follow=true").stream().await;
    ends_well(&mut daemon, Signal::TERM).await;
    assert!(
        [4000, 4010].contains(&terminal.closed().await),
        "{terminal:?}"
    );
    while timeout(DEADLINE, logs.chunk())
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {}
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_it_up() {
    use tokio::io::AsyncWriteExt;
    let mut daemon = program().start();
    let mut stream = tokio::net::TcpStream::connect(daemon.address)
        .await
        .unwrap();
    stream
        .write_all(b"POST /sessions HTTP/1.1\r\nContent-Le")
        .await
        .unwrap();
    ends_well(&mut daemon, Signal::TERM).await;
}
