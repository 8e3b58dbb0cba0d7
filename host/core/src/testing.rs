//! A harness for tests and measurements of the services from outside: the real service on a free port with a state
//! directory of its own, a client that can send anything, and a terminal that keeps
//! what it was shown.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in the harness fails the test"
)]

mod answer;
mod backend;
mod cast;
mod certificate;
mod client;
mod docker_engine;
mod leftovers;
mod libraries;
mod own_kernel;
mod program;
mod random;
mod server;
mod session;
mod table;
mod terminal;
mod tmux_server;

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use agentd_terminal::hostile;
pub use answer::Answer;
pub use backend::TestBackend;
pub use cast::TestCast;
pub use certificate::Certificate;
pub use client::{TestClient, TestRequest};
pub use docker_engine::DockerEngine;
pub use leftovers::{kill_all_of, processes_of};
pub use libraries::{build_library, example_libraries, is_built, libraries, profile_dir};
pub use own_kernel::{DelegatedCgroup, in_own_kernel};
pub use program::{Ended, RunningProgram, SpawnedProgram, TestProgram};
pub use random::Random;
pub use server::TestServer;
pub use session::TestSession;
pub use table::{Table, median};
pub use terminal::{Hello, TestTerminal, screen_after};
pub use tmux_server::TmuxServer;

/// How long a test waits for anything before it fails. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Says what keeps a test from running here; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "for the people who run the tests")]
pub fn leave_out(missing: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!in_ci, "left out, and this is CI: {missing}");
    eprintln!("left out: {missing}");
    // A test that is left out has not shown anything, see `xtask/src/report/`.
    if let Some(file) = std::env::var_os("AGENTD_TESTS_LEFT_OUT") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        let test = std::thread::current();
        writeln!(file, "{}", test.name().unwrap_or_default()).unwrap();
    }
}

/// Whether this is root, as others than the user who runs the tests are needed. Says what is left out
/// if not; in CI that is a failure.
pub fn may_be_others() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        leave_out("this test acts as several users, which takes root");
    }
    may
}

/// Whether a test may make namespaces, which takes root, and `ip` and `unshare`. Says what is left
/// out if not; in CI that is a failure.
pub fn may_make_namespaces() -> bool {
    let probe = [
        "--mount", "--net", "--pid", "--fork", "ip", "link", "set", "lo", "up",
    ];
    let probed = std::process::Command::new("unshare").args(probe).output();
    let may = probed.is_ok_and(|output| output.status.success());
    if !may {
        leave_out(
            "this test makes namespaces, which takes root outside of a container, and `ip` \
             (Debian: apt-get install iproute2)",
        );
    }
    may
}

/// Whether a process of that number runs; a zombie does not.
pub fn is_alive(pid: i32) -> bool {
    let stat = agentd_plugin_api::process_tree::Stat::read(pid).unwrap();
    stat.is_some_and(|stat| !stat.dead)
}
