//! The measured loop: the same source in this program and in the library.

use std::hint::black_box;

use agentd_plugin_api::SessionEvents;

/// Hands `size` bytes to the daemon `count` times.
#[inline(never)]
pub fn push(events: &SessionEvents, count: u32, size: usize) {
    let chunk = vec![b'x'; size];
    for _ in 0..count {
        black_box(black_box(events).output(black_box(&chunk)));
    }
}
