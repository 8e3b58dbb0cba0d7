//! Who may have a keeper.

use std::os::unix::fs::MetadataExt;

use agentd_keeper::Keeper;
use agentd_process::ErrorKind;

use crate::harness::*;

#[tokio::test]
async fn who_only_asks_takes_nothing() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon.run("read a; echo \"<$a>\"; read a", BLOCK).await;
    for _ in 0..100 {
        let found = daemon.found();
        assert_eq!(found.len(), 1);
        assert!(found[0].owned && found[0].sessions == 1);
        assert_eq!(found[0].pid, daemon.keeper.pid());
    }
    running.write(b"hello\n".to_vec()).await.unwrap();
    tape.printed("<hello>");
}

#[tokio::test]
async fn a_second_daemon_is_refused_while_the_first_lives() {
    let daemon = Daemon::with_process();
    let second = Keeper::connect(&daemon.found()[0], &daemon.readers);
    let refused = error(second);
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert_eq!(refused.message, "another daemon has this keeper");
    let daemon = daemon.next();
    assert!(daemon.keeper.responds().await.is_ok());
}

#[tokio::test]
async fn a_socket_is_for_its_user_alone() {
    let daemon = Daemon::with_process();
    let found = &daemon.found()[0];
    let mode = |path: &std::path::Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&found.socket), 0o600);
    assert_eq!(mode(daemon.directory.path()), 0o700);
}

/// The path of a socket may be longer than an address has room for.
#[tokio::test]
async fn a_state_directory_may_be_deep() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
    let readers = agentd_keeper::Readers::start().unwrap();
    let keeper = Keeper::launch(&process(&deep), &readers).unwrap();
    assert_eq!(Keeper::running(&deep).unwrap().len(), 1);
    kill(keeper.pid(), libc::SIGKILL);
    keeper.closed().await;
    // What it has left is cleaned up.
    assert!(Keeper::running(&deep).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
}
