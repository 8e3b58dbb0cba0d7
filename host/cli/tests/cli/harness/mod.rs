//! The real command against real services, in real terminals.

mod canned;
mod command;
mod outer_terminal;
mod proxy;
mod service;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use canned::Canned;
pub use command::{Agent, Run};
pub use outer_terminal::OuterTerminal;
pub use proxy::Proxy;
pub use service::Service;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where cargo puts the programs.
pub fn target_dir() -> PathBuf {
    let agent = PathBuf::from(env!("CARGO_BIN_EXE_agent"));
    agent.parent().expect("a file is in a directory").to_owned()
}

/// Looks again and again until `look` finds something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= end => panic!("waited in vain for {what}; now:\n{seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
