//! A harness for tests of the services from outside: the real service on a free port with a state
//! directory of its own, a client that can be as rude as a test wants, and a terminal that keeps
//! what it was shown.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in the harness fails the test"
)]

mod answer;
mod client;
mod libraries;
mod program;
mod server;
mod session;
mod terminal;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use answer::Answer;
pub use client::{TestClient, TestRequest};
pub use libraries::{build_library, example_libraries, libraries};
pub use program::{Ended, RunningProgram, TestProgram};
pub use server::TestServer;
pub use session::TestSession;
pub use terminal::{Hello, TestTerminal};

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

/// Whether a test may make namespaces, which only root may. Says what is left out if not; in CI that
/// is a failure.
#[expect(clippy::print_stderr, reason = "for the people who run the tests")]
pub fn may_make_namespaces() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(is_root || !in_ci, "the tests are not run by root");
    if !is_root {
        eprintln!("left out: only root may make namespaces (run the tests as root)");
    }
    is_root
}

/// Whether there is a process of that number that is no zombie.
pub fn is_alive(pid: i32) -> bool {
    agentd_plugin_api::process_tree::Stat::read(pid).is_some_and(|stat| !stat.dead)
}
