use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_host::testing::{
    DEADLINE, RunningProgram, TestProgram, TestSession, eventually, is_alive,
};
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
async fn each_signal_ends_a_service_without_sessions() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut daemon = program().start();
        daemon.get("/info").await.expect(200);
        ends_well(&mut daemon, signal).await;
    }
}

#[tokio::test]
async fn agents_end_with_the_service() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
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

/// The service, which a script in `folder` begins with `first`.
fn after(first: &str, folder: &Path) -> TestProgram {
    let service = env!("CARGO_BIN_EXE_agentd-wrap");
    let script = folder.join("script");
    fs::write(
        &script,
        format!("#!/bin/sh\n{first}\nexec {service} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    TestProgram::new("agentd-wrap", script)
}

/// As when the terminal is closed that it was started in.
#[tokio::test]
async fn a_service_that_cannot_log_serves_and_ends_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = after("exec 2>/dev/full", folder.path()).start();
    let session = daemon.script("demo", "echo $$; cat").await;
    let pid = pids(&session, 1).await[0];
    ends_well(&mut daemon, Signal::HUP).await;
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_service_that_is_started_with_nohup_ignores_that_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = after("trap '' HUP", folder.path()).start();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "{status}");
    ends_well(&mut daemon, Signal::TERM).await;
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
