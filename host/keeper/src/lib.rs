//! Programs on terminals that outlive the daemon.
//!
//! A keeper forks programs, reads their terminals into rings of shared memory and remembers how they
//! ended. The daemon is its client: it reads the rings, and writes to the terminals itself. `PROTOCOL.md`
//! has what goes between the two.
//!
//! The keeper's side (`server`) has no runtime and no library loaded. It runs in a process of its own,
//! or on a thread of the daemon where nothing shall outlive that.

mod client;
mod flood;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod protocol;
mod ring;
mod server;
mod socket;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use client::{
    Checkpoint, Found, Keeper, Kept, Listed, Place, Readers, Running, Terms, remove_unfinished,
};
pub use server::process::entered;

/// What a program does while its ring is full and no daemon is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It waits.
    Block,
    /// It runs on, and the oldest output is lost: [`Kept::first`] is then after the checkpoint.
    Drop,
}

/// What tells builds of a program apart: its version, and the size and time of its file.
pub fn build(program: &Path) -> agentd_process::Result<String> {
    let file = std::fs::metadata(program)?;
    let (size, time) = (file.len(), (file.mtime(), file.mtime_nsec()));
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!("{version}-{size:x}-{:x}{:08x}", time.0, time.1))
}
