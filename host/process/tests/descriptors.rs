//! Without a free descriptor, what is left of an agent is still found and ended.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::File;
use std::process::{Child, Command};
use std::time::Duration;

use agentd_process::environment::SESSION_MARKER;
use agentd_process::is_shortage;
use agentd_process::process_tree::{ProcessTree, Stat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Set in a process of a test's own, as the limit is that of the whole process.
const ALONE: &str = "TEST_WITHOUT_DESCRIPTORS";

/// Runs the test of this name in a process of its own: whether this is that process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .status();
    assert!(again.unwrap().success());
    false
}

fn sleeper(id: &str) -> Child {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").env(SESSION_MARKER, id).spawn().unwrap()
}

/// Opens files until no more can be opened.
fn exhaust() -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(100);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut all = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => all.push(file),
            Err(error) => {
                assert!(is_shortage(&error), "{error}");
                return all;
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn a_tree_is_ended_without_a_free_descriptor() {
    if !is_alone("a_tree_is_ended_without_a_free_descriptor") {
        return;
    }
    let runtime = runtime();
    let mut members = [(); 5].map(|()| sleeper("tree"));
    let mut other = sleeper("other");
    let files = exhaust();
    let tree = ProcessTree::new("tree", members[0].id());
    runtime.block_on(tree.end(Duration::from_secs(20))).unwrap();
    for member in &mut members {
        assert!(member.try_wait().unwrap().is_some());
    }
    assert!(other.try_wait().unwrap().is_none());
    drop(files);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_lack_of_descriptors_is_not_the_absence_of_a_process() {
    if !is_alone("a_lack_of_descriptors_is_not_the_absence_of_a_process") {
        return;
    }
    let own = std::process::id().cast_signed();
    let files = exhaust();
    let error = Stat::read(own).unwrap_err();
    assert!(is_shortage(&error), "{error}");
    drop(files);
    assert!(Stat::read(own).unwrap().is_some());
}

/// The number of a process that was reaped may be another's.
#[test]
fn a_leader_that_began_at_another_time_is_another_process() {
    let mut stranger = sleeper("stranger");
    let pid = stranger.id();
    let started = Stat::read(pid.cast_signed()).unwrap().unwrap().started;
    let runtime = runtime();
    let before = ProcessTree::of("agent", pid, started - 1);
    runtime.block_on(before.end(Duration::ZERO)).unwrap();
    assert!(stranger.try_wait().unwrap().is_none());
    let same = ProcessTree::of("agent", pid, started);
    runtime.block_on(same.end(Duration::from_secs(20))).unwrap();
    assert!(stranger.try_wait().unwrap().is_some());
}
