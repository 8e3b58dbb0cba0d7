//! What the allocator keeps of what a service does not use any more.

#[cfg(target_env = "gnu")]
use std::{num::NonZero, ops::RangeInclusive, thread::available_parallelism};

/// So many free bytes at the end of an arena are given back to the machine.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: libc::c_int = 256 << 10;

/// Blocks from this size on are not part of an arena, and are given back as soon as they are free.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: libc::c_int = 1 << 20;

/// Arenas, of which there are as many as processors. In each of them, blocks that live long keep freed pages around
/// them from being given back.
#[cfg(target_env = "gnu")]
const ARENAS: RangeInclusive<usize> = 2..=8;

/// Bounds what the allocator keeps; to be called before there are threads. Unless that is set, glibc has eight arenas
/// for each processor, and raises both thresholds with each large block that is freed, up to 64 MiB and 32 MiB
/// (mallopt(3)). [`give_back`] does not reach the end of an arena other than the first.
#[cfg(target_env = "gnu")]
pub fn bound() {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let arenas = processors.clamp(*ARENAS.start(), *ARENAS.end());
    let arenas = libc::c_int::try_from(arenas).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in [
        (libc::M_ARENA_MAX, arenas),
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
