//! A clock that jumps, for tests: in a program for which this is preloaded (`LD_PRELOAD`), the time of day is
//! off by as many seconds as the file `AGENTD_TEST_CLOCK` has in its first eight bytes. The other clocks are
//! right, as where somebody sets the time of day.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

/// The eight bytes, once they are mapped.
static OFFSET: AtomicPtr<AtomicI64> = AtomicPtr::new(null_mut());

/// What stands in for them where there is no such file.
static NONE: AtomicI64 = AtomicI64::new(0);

fn offset() -> i64 {
    let known = OFFSET.load(Ordering::Acquire).cast_const();
    let known = match known.is_null() {
        true => map().unwrap_or(&raw const NONE),
        false => known,
    };
    OFFSET.store(known.cast_mut(), Ordering::Release);
    // SAFETY: it is never unmapped, and only read here.
    unsafe { (*known).load(Ordering::SeqCst) }
}

/// Takes no memory and asks for no time.
fn map() -> Option<*const AtomicI64> {
    // SAFETY: the name has a final NUL, and so has what is returned, which lives as long as the process does.
    // The mapping is of a file that is long enough; a failure is looked for.
    unsafe {
        let file = libc::getenv(c"AGENTD_TEST_CLOCK".as_ptr());
        if file.is_null() {
            return None;
        }
        let file = libc::open(file, libc::O_RDONLY | libc::O_CLOEXEC);
        let flags = (libc::PROT_READ, libc::MAP_SHARED);
        let mapped = libc::mmap(null_mut(), 8, flags.0, flags.1, file, 0);
        libc::close(file);
        (mapped != libc::MAP_FAILED).then_some(mapped.cast::<AtomicI64>().cast_const())
    }
}

/// In the place of the one of libc.
///
/// # Safety
///
/// As of that one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the kernel has written there.
        unsafe { (*time).tv_sec += offset() };
    }
    if result == 0 { 0 } else { -1 }
}
