//! Who may have a keeper.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use agentd_keeper::Keeper;
use agentd_process::ErrorKind;
use agentd_process::terminal::Ended;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

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

/// Attack: a second program takes a keeper over while its daemon lives. Then: it is refused.
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
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
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
    // What it has left is cleaned up. Its connection may be closed before its socket is.
    until("the keeper is gone", || {
        Keeper::running(&deep).unwrap().is_empty()
    });
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
}

/// Even where the modes of the files would let it in.
///
/// Attack: another user connects to a keeper where the modes let everybody. Then: the connection is
/// closed.
#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can become another user");
        return;
    }
    let daemon = Daemon::with_process();
    let socket = daemon.found()[0].socket.clone();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(daemon.directory.path(), 0o755);
    open(&socket, 0o666);
    let says = |user: u32| {
        let socket = socket.clone();
        // Of this thread only, as the system call is not made through the C library.
        let as_user = move || {
            // SAFETY: changes no memory.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
            assert_eq!(changed, 0);
            hello(&socket)
        };
        std::thread::spawn(as_user).join().unwrap()
    };
    assert_eq!(says(0), Some(1));
    assert_eq!(says(65534), None);
    assert_eq!(says(0), Some(1));
}

/// Sends a HELLO: the verb of the answer, none if the connection is closed instead.
fn hello(socket: &Path) -> Option<u8> {
    let mut request = vec![28, 0, 0, 0, 1, 0, 0, 0];
    request.extend([7, 0, 0, 0, 0, 0, 0, 0]);
    request.extend([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    ask(socket, &request).get(4).copied()
}

/// Sends a frame: the answer, empty if the connection is closed instead.
fn ask(path: &Path, frame: &[u8]) -> Vec<u8> {
    let flags = SocketFlags::CLOEXEC;
    let connection = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect(&connection, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let mut answer = [0; 256];
    let answered = send(&connection, frame, SendFlags::NOSIGNAL)
        .and_then(|_| recv(&connection, &mut answer[..], RecvFlags::empty()));
    let count = answered.map_or(0, |(count, _)| count);
    answer[..count].to_vec()
}

/// A frame that is none, and a verb that is not known.
///
/// Attack: frames that are none, of a verb that is not known, or of one who has not the keeper. Then:
/// the connection ends, or an error, and nothing else.
#[test]
fn nonsense_ends_a_connection_and_nothing_else() {
    let daemon = Daemon::with_process();
    let socket = daemon.found()[0].socket.clone();
    assert!(ask(&socket, b"GET / HTTP/1.1\r\n\r\n").is_empty());
    assert!(ask(&socket, &[1]).is_empty());
    let mut unknown = vec![16, 0, 0, 0, 99, 0, 0, 0];
    unknown.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    let answer = ask(&socket, &unknown);
    assert_eq!(answer[4..8], [99, 0, 2, 0]);
    assert_eq!(answer[8..20], [9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]);
    // What changes something is for the daemon that has it.
    let mut hangup = vec![24, 0, 0, 0, 4, 0, 0, 0];
    hangup.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let answer = ask(&socket, &hangup);
    assert_eq!(answer[16..20], [3, 0, 0, 0]);
    assert_eq!(daemon.found().len(), 1);
}

/// A ring has one reader: of two, one would sleep while the other is notified.
#[tokio::test]
async fn what_is_followed_cannot_be_opened() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon.run("cat", BLOCK).await;
    let [listed] = &daemon.keeper.list().await.unwrap()[..] else {
        panic!("one program");
    };
    let refused = daemon.keeper.open(listed).await.map(drop).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    // It runs on, and is followed.
    drop(running);
    assert!(daemon.keeper.open(listed).await.is_err());
    daemon.keeper.hang_up(listed).await.unwrap();
    assert_eq!(tape.ended(), Ended::Signal(libc::SIGKILL));
}

#[tokio::test]
async fn what_is_not_followed_any_more_can_be_opened_again() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon.run("echo ready; read a; echo \"<$a>\"", BLOCK).await;
    tape.printed("ready");
    running.leave();
    until("nobody has the tape", || Arc::strong_count(&tape) == 1);
    let kept = daemon.only().await;
    let (from, next) = (kept.head(), Tape::new());
    let running = kept.follow(from, false, next.clone()).unwrap();
    running.write(b"hello\n".to_vec()).await.unwrap();
    assert_eq!(next.ended(), Ended::Code(0));
    assert_eq!(next.text(), "hello\r\n<hello>\r\n");
    assert_eq!(tape.text(), "ready\r\n");
}

/// A program whose start is given up is listed until it has ended, and nobody else gets it meanwhile.
#[tokio::test]
async fn a_start_that_is_given_up_is_followed_to_its_end() {
    let daemon = Daemon::with_process();
    for round in 0..20 {
        let (keeper, tape) = (daemon.keeper.clone(), Tape::new());
        let (program, sink) = (program("trap '' HUP TERM; sleep 1000"), tape.clone());
        let start = tokio::spawn(async move {
            if let Ok(running) = keeper.run(program, "", BLOCK, sink).await {
                Arc::new(running).abandon();
            }
        });
        tokio::task::yield_now().await;
        start.abort();
        let deadline = Instant::now() + PATIENCE;
        // Whoever follows it has the tape.
        while Arc::strong_count(&tape) > 1 {
            for listed in daemon.keeper.list().await.unwrap() {
                let opened = daemon.keeper.open(&listed).await;
                assert!(opened.is_err(), "round {round}");
            }
            assert!(Instant::now() < deadline, "round {round}");
        }
        assert!(daemon.keeper.list().await.unwrap().is_empty());
    }
}
