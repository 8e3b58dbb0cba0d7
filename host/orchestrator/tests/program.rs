//! The program: how it starts and ends.

use std::path::Path;

use agentd_host::testing::{DEADLINE, TestProgram, eventually, is_alive};
use rustix::process::Signal;
use tokio::time::timeout;

/// The program, with the pty backend unless it is given another.
pub fn program() -> TestProgram {
    TestProgram::new(
        "agentd-orchestrator",
        env!("CARGO_BIN_EXE_agentd-orchestrator"),
    )
}

/// The same with the places at which it can be killed (`examples/crashing.rs`).
pub fn crashing_program() -> TestProgram {
    let program = Path::new(env!("CARGO_BIN_EXE_agentd-orchestrator"));
    let crashing = program.with_file_name("examples").join("crashing");
    TestProgram::new("agentd-orchestrator", crashing)
}

#[tokio::test]
async fn an_unknown_backend_is_reported_first() {
    let ended = program().env("AGENTD_BACKEND", "badvalue").ends().await;
    assert_eq!(
        ended.stderr.lines().next(),
        Some("Error: Unknown AGENTD_BACKEND value 'badvalue'. Valid options: tmux, docker, pty")
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
}

#[tokio::test]
async fn each_failure_has_its_exit_code() {
    let flag = program().arg("--nonsense").ends().await;
    assert_eq!(flag.code, Some(78), "{}", flag.stderr);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let port = program().env("AGENTD_PORT", port).ends().await;
    assert_eq!(port.code, Some(1), "{}", port.stderr);
    let open = program()
        .env("AGENTD_AUTH", "off")
        .env("AGENTD_HOST", "0.0.0.0")
        .ends()
        .await;
    assert_eq!(open.code, Some(78), "{}", open.stderr);
}

#[tokio::test]
async fn help_names_its_port() {
    let help = program().arg("--help").ends().await;
    assert_eq!(help.code, Some(0));
    for word in ["agentd-orchestrator", "17006", "AGENTD_BACKEND", "RUST_LOG"] {
        assert!(help.stdout.contains(word), "{}", help.stdout);
    }
}

#[tokio::test]
async fn both_signals_end_it_with_its_agents() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = program().start();
        let script = "setsid sleep 1000 & echo $!; echo $$; cat";
        let agent = daemon.script("demo", script).await;
        let mut pids: Vec<i32> = eventually("the process ids", async || {
            let lines = agent.logs("").await;
            let pids: Vec<i32> = lines.iter().filter_map(|line| line.parse().ok()).collect();
            (pids.len() == 2).then_some(pids)
        })
        .await;
        let mut terminal = agent.terminal("").await;
        terminal.hello().await;
        let mut events = daemon.get("/events").stream().await;
        daemon.signal(signal);
        assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
        pids.retain(|pid| is_alive(*pid));
        assert_eq!(pids, [0; 0]);
        assert!(
            [4000, 4010].contains(&terminal.closed().await),
            "{terminal:?}"
        );
        while timeout(DEADLINE, events.chunk())
            .await
            .unwrap()
            .unwrap_or(None)
            .is_some()
        {}
    }
}
