//! The keeper's own process: killed, stopped, idle, done.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentd_process::ErrorKind;
use agentd_process::terminal::Ended;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::harness::*;

/// Fault: a keeper is killed. Then: its programs are lost, and nobody hangs.
#[tokio::test]
async fn a_killed_keeper_loses_its_programs_and_nobody_hangs() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon
        .run("echo $$.; trap '' HUP; while :; do sleep 1; done", BLOCK)
        .await;
    tape.printed(".");
    let pid: u32 = tape.text().trim().trim_end_matches('.').parse().unwrap();
    kill(daemon.keeper.pid(), libc::SIGKILL);
    assert!(matches!(tape.ended(), Ended::Unknown(_)));
    daemon.keeper.closed().await;
    // What it ran is ended, as nobody will ever have its terminal.
    until("the program has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(running.end(Duration::ZERO).await.is_ok());
    let failed = error(
        daemon
            .keeper
            .run(program("exit"), "", BLOCK, Tape::new())
            .await,
    );
    assert_eq!(failed.kind, ErrorKind::Unavailable);
    assert!(daemon.found().is_empty());
}

/// Fault: a keeper is stopped. Then: calls fail with a sentence, and it goes on later.
#[tokio::test]
async fn a_stopped_keeper_fails_calls_and_goes_on_later() {
    let daemon = Daemon::with_process();
    let (running, tape) = daemon
        .run("read a; echo \"<$a>\"; read a; exit 6", BLOCK)
        .await;
    let (other, _) = daemon.run("read a", BLOCK).await;
    kill(daemon.keeper.pid(), libc::SIGSTOP);
    let begun = Instant::now();
    let (listed, responds) = tokio::join!(daemon.keeper.list(), daemon.keeper.responds());
    let start = daemon
        .keeper
        .run(program("exit 0"), "late", BLOCK, Tape::new());
    let started = start.await;
    for failed in [error(listed), error(responds), error(started)] {
        assert_eq!(failed.kind, ErrorKind::Unavailable);
        assert!(failed.message.contains("has not answered"), "{failed}");
    }
    let (other, lasting) = (&other, Duration::ZERO);
    let ended = error(other.end(lasting).await);
    assert!(ended.message.contains("has not answered"), "{ended}");
    assert!(begun.elapsed() < Duration::from_secs(40));
    // Keys and sizes go past it.
    running.write(b"hello\n".to_vec()).await.unwrap();
    kill(daemon.keeper.pid(), libc::SIGCONT);
    tape.printed("<hello>");
    running.write(b"\n".to_vec()).await.unwrap();
    assert_eq!(tape.ended(), Ended::Code(6));
    // The start that nobody waits for any more is undone.
    let deadline = Instant::now() + PATIENCE;
    while !daemon.keeper.list().await.unwrap().is_empty() {
        assert!(Instant::now() < deadline);
    }
}

/// A program that has the name of the socket among its arguments.
#[tokio::test]
async fn who_only_names_the_socket_is_not_taken_for_a_silent_keeper() {
    let daemon = Daemon::with_process();
    let (_running, _) = daemon.run("read a", BLOCK).await;
    let socket = daemon.found().remove(0).socket;
    let mut stranger = Command::new("sh")
        .args(["-c", "read line", "keep-terminals"])
        .arg(&socket)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    kill(daemon.keeper.pid(), libc::SIGSTOP);
    let found = daemon.found();
    kill(daemon.keeper.pid(), libc::SIGCONT);
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
    assert_eq!((found.len(), found[0].pid), (1, daemon.keeper.pid()));
    assert_eq!(found[0].build, "", "it has not answered");
}

#[tokio::test]
async fn a_keeper_ends_when_there_is_nothing_to_keep() {
    let daemon = Daemon::with_process();
    let pid = daemon.keeper.pid();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        kill(pid, signal);
    }
    let (_, tape) = daemon.run("read a", BLOCK).await;
    assert!(tape.text().is_empty());
    let found = daemon.found().remove(0);
    // With a program it stays.
    let daemon = daemon.next();
    let kept = daemon.only().await;
    let tape = Tape::new();
    let running = kept.follow(0, false, tape.clone()).unwrap();
    running.end(Duration::ZERO).await.unwrap();
    until("the keeper is empty", || daemon.found()[0].sessions == 0);
    daemon.keeper.leave();
    until("the keeper has ended", || !found.socket.exists());
    assert_eq!(
        std::fs::read_dir(daemon.directory.path()).unwrap().count(),
        0
    );
}

/// Nothing happens in it while nothing is printed.
#[tokio::test]
async fn an_idle_keeper_sleeps() {
    let daemon = Daemon::with_process();
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(daemon.run("echo ready; read a", BLOCK).await);
    }
    for (_, tape) in &all {
        tape.printed("ready");
    }
    let switches = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.keeper.pid())).unwrap();
        let of = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary"));
            let count = line.unwrap().rsplit('\t').next().unwrap();
            count.parse::<u64>().unwrap()
        };
        tasks.map(|task| of(task.unwrap())).sum::<u64>()
    };
    // The starts' own threads have come to rest when a second passes without a switch.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = switches();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if switches() == before {
            break;
        }
        assert!(Instant::now() < deadline, "it does not sleep");
    }
}

/// Whatever it lacks first.
/// Fault: a keeper has no more descriptors. Then: starts are refused, and nobody else notices.
#[tokio::test]
async fn a_keeper_that_lacks_descriptors_refuses_starts_and_nobody_else_notices() {
    let daemon = Daemon::with_process();
    let script = "while read a; do echo \"<$a>\"; done";
    let (other, beside) = daemon.run(script, BLOCK).await;
    let keeper = Pid::from_raw(daemon.keeper.pid().cast_signed());
    // The keeper has the limits of who launched it.
    let before = getrlimit(Resource::Nofile);
    let allow = |current: Option<u64>| {
        let limit = Rlimit { current, ..before };
        prlimit(keeper, Resource::Nofile, limit).unwrap();
    };
    allow(Some(0));
    let mut refused = 0;
    let (running, tape) = loop {
        let mut large = program("read a; exit 4");
        // Comes in a descriptor.
        large
            .env
            .insert("LARGE".to_owned(), "x".repeat(refused % 2 * 100_000));
        let tape = Tape::new();
        match daemon.keeper.run(large, "", BLOCK, tape.clone()).await {
            Ok(running) => break (running, tape),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
                let is_clear = [
                    "the keeper of the terminals",
                    "did not come with the request",
                ];
                assert!(
                    is_clear.iter().any(|why| error.message.contains(why)),
                    "{error}"
                );
                assert!(error.hint.unwrap().contains("ulimit -n"));
            }
        }
        refused += 1;
        let typed = format!("after {refused}");
        other
            .write(format!("{typed}\n").into_bytes())
            .await
            .unwrap();
        beside.printed(&format!("<{typed}>"));
        assert_eq!(daemon.keeper.list().await.unwrap().len(), 1);
        allow(Some(refused as u64));
    };
    assert!(refused > 5, "it was refused {refused} times");
    running.write(b"\n".to_vec()).await.unwrap();
    assert_eq!(tape.ended(), Ended::Code(4));
    allow(before.current);
    let (_running, tape) = daemon.run("exit 5", BLOCK).await;
    assert_eq!(tape.ended(), Ended::Code(5));
}
