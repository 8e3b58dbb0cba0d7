/// Ends the process without exit handlers and destructors, among which a library's may be: a
/// thread of it is stuck, and exit(3) would wait for a lock that the thread holds.
pub fn at_once(code: u8) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(code.into()) }
}
