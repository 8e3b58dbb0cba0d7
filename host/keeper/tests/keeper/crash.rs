//! A daemon that is killed at any moment, in a process of its own.

use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentd_keeper::{Keeper, Readers};
use agentd_process::terminal::{Ended, Size};
use rustix::fs::{FlockOperation, flock};

use crate::harness::*;

/// Where the daemon has its keeper.
const DIRECTORY: &str = "TEST_KEEPER_DIRECTORY";

const LAST: u64 = 2_000_000;
const SIZE: Size = Size { cols: 80, rows: 24 };

/// What the other test kills: takes over the program, or starts it, and leaves checkpoints.
#[tokio::test]
#[ignore = "another test runs it, as a process to be killed"]
async fn daemon() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let readers = Readers::start().unwrap();
    // On a busy machine it may get all there is before it is killed.
    let tape = Tape::forgetful();
    let (mut position, running);
    let found = Keeper::running(&directory).unwrap();
    let keeper = match found.first() {
        None => Keeper::launch(&process(&directory), &readers).unwrap(),
        Some(found) => Keeper::connect(found, &readers).unwrap(),
    };
    match keeper.list().await.unwrap().first() {
        None => {
            position = 0;
            let program = program(&format!("seq {LAST}; exit 8"));
            running = keeper
                .run(program, "", CHECKPOINTS, tape.clone())
                .await
                .unwrap();
        }
        Some(listed) => {
            let kept = keeper.open(listed).await.unwrap();
            position = kept.checkpoint.as_ref().map_or(0, |left| left.position);
            running = kept.follow(position, true, tape.clone()).unwrap();
        }
    }
    let first = position;
    loop {
        until("there is output", || {
            first + tape.output().len() as u64 > position
        });
        position = first + tape.output().len() as u64;
        let snapshot = format!("at {position}");
        running
            .checkpoint(position, SIZE, snapshot.as_bytes())
            .await
            .unwrap();
    }
}

struct Killed(Child);

impl Killed {
    fn start(daemon: &std::path::Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::daemon", "--ignored"])
            .env(DIRECTORY, daemon)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        Killed(child.unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Fault: a service is killed at any moment of a flood. Then: the next one loses no byte and has none twice.
#[tokio::test]
async fn a_daemon_that_is_killed_at_any_moment_loses_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    let expected = numbers(1, LAST);
    let mut furthest = 0;
    for round in 0..12u32 {
        let daemon = Killed::start(directory.path());
        // At some moment after it has begun.
        until("it has the keeper", || {
            let found = Keeper::running(directory.path()).unwrap_or_default();
            found.iter().any(|found| found.owned && found.sessions > 0)
        });
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 10_000)));
        drop(daemon);
        let free = || {
            let found = Keeper::running(directory.path()).unwrap();
            found.iter().all(|found| !found.owned)
        };
        until("the keeper is free", free);
        let readers = Readers::start().unwrap();
        let found = Keeper::running(directory.path()).unwrap().remove(0);
        let keeper = Keeper::connect(&found, &readers).unwrap();
        let listed = keeper.list().await.unwrap().remove(0);
        let kept = keeper.open(&listed).await.unwrap();
        let position = kept.checkpoint.as_ref().map_or(0, |left| left.position);
        if let Some(left) = &kept.checkpoint {
            assert_eq!(left.snapshot, format!("at {position}").as_bytes());
        }
        assert!(position >= furthest && kept.first() <= position);
        furthest = position;
        let (begin, rest) = kept.read_back(position, u64::MAX);
        assert_eq!(begin, position);
        assert!(
            expected.as_bytes()[begin as usize..].starts_with(&rest),
            "round {round}"
        );
        keeper.leave();
        until("the keeper is free", free);
    }
    let readers = Readers::start().unwrap();
    let found = Keeper::running(directory.path()).unwrap().remove(0);
    let keeper = Keeper::connect(&found, &readers).unwrap();
    let listed = keeper.list().await.unwrap().remove(0);
    let tape = Tape::new();
    let kept = keeper.open(&listed).await.unwrap();
    drop(kept.follow(furthest, false, tape.clone()).unwrap());
    assert_eq!(tape.ended(), Ended::Code(8));
    assert!(tape.text() == expected[furthest as usize..]);
}

/// Fault: a service is killed while it launches a keeper, and leaves the socket without its name. Then: the next
/// look for keepers removes it, unless somebody is launching one at that moment.
#[test]
fn a_launch_that_was_broken_off_leaves_nothing() {
    let daemon = Daemon::with_process();
    let directory = daemon.directory.path();
    let left = directory.join("0123456789abcdef.new");
    drop(UnixListener::bind(&left).unwrap());
    let launching = File::open(directory).unwrap();
    flock(&launching, FlockOperation::LockShared).unwrap();
    assert_eq!(daemon.found().len(), 1);
    assert!(left.exists());
    drop(launching);
    until("it is removed", || {
        assert_eq!(daemon.found().len(), 1);
        !left.exists()
    });
}

/// Fault: keepers are launched while somebody looks for what was left. Then: every launch succeeds.
#[test]
fn who_removes_what_was_left_takes_no_socket_from_a_launch() {
    let directory = tempfile::tempdir().unwrap();
    let readers = Readers::start().unwrap();
    let launched = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !launched.load(Ordering::Acquire) {
                Keeper::running(directory.path()).unwrap();
            }
        });
        for _ in 0..20 {
            let keeper = Keeper::launch(&process(directory.path()), &readers);
            if keeper.is_err() {
                launched.store(true, Ordering::Release);
            }
            kill(keeper.unwrap().pid(), libc::SIGKILL);
        }
        launched.store(true, Ordering::Release);
    });
    until("nothing is left", || {
        Keeper::running(directory.path()).unwrap();
        let left = std::fs::read_dir(directory.path()).unwrap();
        left.count() == 0
    });
}
