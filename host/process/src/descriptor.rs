//! File descriptors in tokio.

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor, with the runtime that is entered. Each watch of the same one is an
/// error until the one before is dropped.
pub fn watch<D>(descriptor: D, interest: Interest) -> io::Result<AsyncFd<D>>
where
    D: Borrow<OwnedFd> + AsRawFd,
{
    // SAFETY: what the `AsyncFd` has keeps the descriptor open, and is never replaced in it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
