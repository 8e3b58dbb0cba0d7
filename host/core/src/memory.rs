//! What the allocator keeps of what a service does not use any more.

#[cfg(target_env = "gnu")]
use std::{num::NonZero, ops::RangeInclusive, thread::available_parallelism};

/// Free bytes at the end of a heap from which on they go back to the machine.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: libc::c_int = 256 << 10;

/// Blocks from this size on are not part of a heap, and go back as soon as they are free.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: libc::c_int = 1 << 20;

/// Heaps, of which there are as many as processors. What lives long in one keeps pages of what does not from the
/// machine, in each of them.
#[cfg(target_env = "gnu")]
const HEAPS: RangeInclusive<usize> = 2..=8;

/// Bounds what heaps keep, before there are threads. glibc has eight heaps for each processor unless that is set, and
/// raises both thresholds with each large block that is freed, up to 64 MiB and 32 MiB (mallopt(3)); the end of a
/// heap other than the first is out of reach for [`give_back`].
#[cfg(target_env = "gnu")]
pub fn bound() {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let heaps = processors.clamp(*HEAPS.start(), *HEAPS.end());
    let heaps = libc::c_int::try_from(heaps).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in [
        (libc::M_ARENA_MAX, heaps),
        (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD),
    ] {
        // SAFETY: mallopt(3) takes any number, and nothing else allocates meanwhile.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives the machine back what is free. The allocator only does so by itself with what lies at the
/// end of its heap, so a process would keep the most that it ever used. Takes milliseconds.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, by any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Only glibc needs it.
#[cfg(not(target_env = "gnu"))]
pub fn bound() {}

/// Only glibc needs it.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
