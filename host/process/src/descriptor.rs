//! File descriptors in tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor, with the runtime that is entered.
pub fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the `AsyncFd` and never replaced in it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
