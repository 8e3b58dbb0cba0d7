//! What the forked child does before it becomes the program.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::process::{DumpableBehavior, ioctl_tiocsctty, set_dumpable_behavior, setsid};

/// The first descriptor that is none of the three standard ones.
const FIRST: u32 = 3;

/// Makes the caller the leader of a session whose terminal is its standard input, and has the
/// program get nothing else of the daemon's: no descriptor, no signal that is ignored or
/// blocked, as the keeper has some.
///
/// The memory of a forked child is a copy of the daemon's, with its secrets. No core file is made
/// of it, whatever happens to the child; what the program has in memory later is its own affair.
///
/// For `pre_exec`: async-signal-safe.
pub fn before_exec() -> io::Result<()> {
    // Belongs to the memory, and so ends with the exec.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. The signals that have no other action
        // refuse.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    setsid()?;
    // SAFETY: standard input is open until the end of the process.
    ioctl_tiocsctty(unsafe { BorrowedFd::borrow_raw(0) })?;
    close_on_exec()
}

/// Enters a cgroup through its `cgroup.procs`.
///
/// For `pre_exec`: async-signal-safe.
pub fn join(entrance: RawFd) -> io::Result<()> {
    // SAFETY: whoever starts the program has it open until that is done.
    rustix::io::write(unsafe { BorrowedFd::borrow_raw(entrance) }, b"0")?;
    Ok(())
}

/// Marks all descriptors, also those of others that forgot to. The one for the exec's failure stays
/// open until then.
fn close_on_exec() -> io::Result<()> {
    // SAFETY: nothing is closed now, and nothing but the program runs after the exec.
    let marked = unsafe { libc::close_range(FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    match marked {
        0 => Ok(()),
        // Before Linux 5.11, or forbidden by an old sandbox.
        _ => mark_each(),
    }
}

fn mark_each() -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let number = entry?
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| *number >= FIRST as i32) {
            // SAFETY: only its flag is changed.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::process::{Resource, Rlimit, dumpable_behavior, getrlimit, setrlimit};

    use super::*;

    /// Whether a program gets a descriptor of this process that is not marked, when `mark` was
    /// called before the exec.
    fn inherits(mark: fn() -> io::Result<()>) -> bool {
        let stray = tempfile::NamedTempFile::new().unwrap();
        fcntl_setfd(stray.as_file(), FdFlags::empty()).unwrap();
        let mut command = Command::new("ls");
        command.args(["-l", "/proc/self/fd"]);
        // SAFETY: both ways of marking make system calls only.
        unsafe { command.pre_exec(mark) };
        let printed = command.output().unwrap();
        assert!(printed.status.success());
        let printed = String::from_utf8(printed.stdout).unwrap();
        printed.contains(stray.path().to_str().unwrap())
    }

    #[test]
    fn a_descriptor_that_somebody_forgot_to_mark_is_not_inherited() {
        assert!(inherits(|| Ok(())));
        assert!(!inherits(close_on_exec));
        assert!(!inherits(mark_each));
    }

    #[test]
    fn a_failure_is_still_reported() {
        let mut command = Command::new("/no/such/program");
        // SAFETY: both ways of marking make system calls only.
        unsafe { command.pre_exec(|| close_on_exec().and_then(|()| mark_each())) };
        assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// How a child ends that dies before its exec.
    fn dies_before_exec(first: fn() -> io::Result<()>) -> std::process::ExitStatus {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("true");
        command.current_dir(&directory);
        // SAFETY: system calls only.
        unsafe {
            command.pre_exec(move || {
                let maximum = getrlimit(Resource::Core).maximum;
                let current = maximum;
                setrlimit(Resource::Core, Rlimit { current, maximum })?;
                // There is no terminal to take here, which is the last thing to fail.
                let _ = first();
                libc::abort()
            })
        };
        command.spawn().unwrap().wait().unwrap()
    }

    /// Attack: a copy of the service dies on its way to become an agent, and leaves its memory in a
    /// file. Then: there is no file.
    #[test]
    fn a_child_that_dies_before_its_exec_leaves_no_core_file() {
        let status = dies_before_exec(before_exec);
        assert_eq!(status.signal(), Some(libc::SIGABRT));
        assert!(!status.core_dumped());
    }

    #[test]
    fn what_is_not_dumped_is_only_the_copy_of_the_daemon() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -ABRT $$"]);
        let directory = tempfile::tempdir().unwrap();
        command.current_dir(&directory);
        // SAFETY: system calls only.
        unsafe {
            command.pre_exec(|| {
                let _ = before_exec();
                match dumpable_behavior()? {
                    DumpableBehavior::NotDumpable => Ok(()),
                    _ => Err(io::ErrorKind::Other.into()),
                }
            })
        };
        let own = command.status().unwrap();
        let plain = Command::new("sh")
            .args(["-c", "kill -ABRT $$"])
            .current_dir(&directory)
            .status()
            .unwrap();
        assert_eq!(own.core_dumped(), plain.core_dumped());
    }
}
