//! Sockets that a service manager has opened.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use agentd_host::testing::TestProgram;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Signal;

use crate::program;
use crate::socket::status;

/// The service as a manager starts it. `redirections` put in place what it passes on.
fn managed(count: usize, redirections: &str) -> TestProgram {
    let script = format!(
        "export LISTEN_FDS={count} LISTEN_PID=$$ LISTEN_FDNAMES=web:local; \
         exec \"$0\" {redirections}"
    );
    TestProgram::new("agentd-wrap", "/bin/bash")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
}

/// A copy that programs inherit, of a number above those that a manager uses.
fn inherited(socket: BorrowedFd<'_>) -> OwnedFd {
    let copy = fcntl_dupfd_cloexec(socket, 100).unwrap();
    fcntl_setfd(&copy, FdFlags::empty()).unwrap();
    copy
}

#[tokio::test]
async fn a_service_listens_at_what_it_is_given_and_its_agents_get_none_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let (first, second) = (inherited(tcp.as_fd()), inherited(unix.as_fd()));
    let (a, b) = (first.as_raw_fd(), second.as_raw_fd());
    let mut daemon = managed(2, &format!("3<&{a} 4<&{b} {a}<&- {b}<&-")).start();
    drop((first, second, unix));
    assert_eq!(daemon.address, tcp.local_addr().unwrap());
    daemon.get("/sessions").await.expect(200);
    assert_eq!(status(&path, "GET /sessions", ""), "200");
    assert!(!daemon.state_dir().join("agentd-wrap.sock").exists());
    let log = daemon.log();
    for said in ["descriptor 3 (`web`)", "descriptor 4 (`local`)"] {
        assert!(log.contains(said), "{log}");
    }

    let session = daemon
        .start("demo", &["sh", "-c", "ls -l /proc/self/fd; env; echo done"])
        .await;
    session.ended().await;
    let shown = session.logs("").await.join("\n");
    assert!(shown.contains("done"), "{shown}");
    assert!(!shown.contains("socket:"), "{shown}");
    assert!(!shown.contains("LISTEN_"), "{shown}");

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    // It belongs to the manager.
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_meant_for_another_process_is_not_taken() {
    let daemon = program()
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .start();
    let own = daemon.state_dir().join("agentd-wrap.sock");
    assert_eq!(status(&own, "GET /sessions", ""), "200");
}

#[tokio::test]
async fn what_cannot_be_listened_at_is_refused() {
    for (redirections, said) in [
        ("3<&-", "descriptor 3 (`web`) of LISTEN_FDS is not open"),
        ("3</dev/null", "is not a socket that listens"),
    ] {
        let ended = managed(1, redirections).ends().await;
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let ended = managed(1000, "").ends().await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
}
