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
pub fn give_back() {}
