//! No core file has the memory of a service, with its token and what its agents are given.
//!
//! A service is not undumpable all the time: to processes of its own user `/proc/PID/fd` would be closed, where tmux
//! finds what begins a pane. Nor has it a limit for core files: agents and tools would inherit that.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, transmute};
use std::ptr::null_mut;
use std::sync::OnceLock;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Those whose default action is a core file (signal(7)).
const DUMPING: [c_int; 10] = [
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGQUIT,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// What was done before, in the same order: the standard library has a word for a stack overflow.
static BEFORE: OnceLock<[libc::sigaction; DUMPING.len()]> = OnceLock::new();

/// From now on this process dies of a signal without a core file. Programs that it starts do not inherit that.
///
/// What remains is a thread that a library has started and that overflows its stack: there is no room for a handler.
pub fn leave_none() -> io::Result<()> {
    let mut before = [MaybeUninit::<libc::sigaction>::zeroed(); DUMPING.len()];
    for (signal, before) in DUMPING.iter().zip(&mut before) {
        // SAFETY: it only asks.
        succeeded(unsafe { libc::sigaction(*signal, std::ptr::null(), before.as_mut_ptr()) })?;
    }
    // SAFETY: the kernel has filled them in.
    let before = before.map(|one| unsafe { one.assume_init() });
    if BEFORE.set(before).is_err() {
        return Ok(());
    }
    // SAFETY: all of it may be zero.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = die as *const () as usize;
    // Where a stack has overflowed, on the stack that is kept for that.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let ignored = |before: &libc::sigaction| before.sa_sigaction == libc::SIG_IGN;
    for (signal, _) in DUMPING.iter().zip(&before).filter(|(_, it)| !ignored(it)) {
        // SAFETY: the handler is async-signal-safe.
        succeeded(unsafe { libc::sigaction(*signal, &raw const action, null_mut()) })?;
    }
    Ok(())
}

fn succeeded(result: c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Async-signal-safe, and so is what was there before.
extern "C" fn die(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut all = DUMPING.iter().zip(BEFORE.get().into_iter().flatten());
    if let Some((_, before)) = all.find(|(of, _)| **of == signal)
        && before.sa_sigaction != libc::SIG_DFL
    {
        type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: it is a handler. One that takes the signal alone does not see the rest.
        let handler = unsafe { transmute::<*const (), Handler>(before.sa_sigaction as *const ()) };
        handler(signal, info, context);
    }
    // Comes when this function is left.
    // SAFETY: both are async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
