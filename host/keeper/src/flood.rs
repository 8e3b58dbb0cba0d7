//! What a flood is, for whoever reads a terminal and whoever hands its output over.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How much is read or handed over before another session has its turn, in bytes.
pub const CHUNK: usize = 8 * 1024;

/// More than [`FLOOD`] bytes in this time are a flood; drawing a screen anew is less than that.
const WINDOW: Duration = Duration::from_millis(100);
const FLOOD: usize = 64 * 1024;

/// Floods take turns of this length, or until they pause for so long. Meanwhile the others wait: read
/// as soon as they print, they would all run at once, and leave little of the machine to anybody else.
pub const TURN: Duration = Duration::from_millis(10);
pub const PAUSE: Duration = Duration::from_millis(1);

/// What was read or handed over in the present [`WINDOW`].
pub struct Recent {
    since: Instant,
    bytes: usize,
}

impl Recent {
    /// Nothing yet.
    pub fn new() -> Self {
        Recent {
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts what came just now: whether it makes a flood.
    pub fn is_flood(&mut self, count: usize) -> bool {
        if self.since.elapsed() > WINDOW {
            *self = Recent::new();
        }
        self.bytes = self.bytes.saturating_add(count);
        self.bytes > FLOOD
    }
}

/// Blocks for so long until there is something to read. A failure is seen again by whoever reads next.
pub fn is_readable_within(source: impl AsFd, patience: Duration) -> bool {
    let mut source = [PollFd::new(&source, PollFlags::IN)];
    let patience = Timespec::try_from(patience).unwrap_or_default();
    poll(&mut source, Some(&patience)).is_ok_and(|count| count > 0)
}
