//! Programs on terminals that outlive the daemon.
//!
//! A keeper forks programs, reads their terminals into rings of shared memory and remembers how they
//! ended. The daemon is its client: it reads the rings, and writes to the terminals itself. `PROTOCOL.md`
//! has what goes between the two.
//!
//! The keeper's side has no runtime and no library loaded. It runs in a process of its own, or on a
//! thread of the daemon where nothing shall outlive that.

mod client;

pub use client::{Checkpoint, Found, Keep, Keeper, Kept, Listed, Place, Readers, Running};

/// To be called first in `main`, before any thread is started: where this process was launched as a
/// keeper, keeps until there is nothing more to keep, and gives the exit code.
pub fn entered() -> Option<std::process::ExitCode> {
    None
}

/// What tells builds of a program apart: its version, and the size and time of its file.
pub fn build(program: &std::path::Path) -> agentd_process::Result<String> {
    let metadata = std::fs::metadata(program)?;
    Ok(format!("{}-{}", env!("CARGO_PKG_VERSION"), metadata.len()))
}
