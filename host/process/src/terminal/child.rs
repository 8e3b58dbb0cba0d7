//! Starting a program on a terminal of its own, and waiting for its end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use portable_pty::{PtySize, native_pty_system};
use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

use super::before_exec::{before_exec, join};
use super::cgroup::Cgroup;
use super::{Ended, Launch, Reaper, Size};
use crate::environment::{INSTANCE_MARKER, SESSION_MARKER};
use crate::program as find;
use crate::{Error, Result};

/// A process that leads a session of its own on a PTY. Until this is dropped, which kills and reaps
/// it, no other process can have its number.
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
    /// Non-blocking.
    master: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
}

impl Child {
    /// Takes a millisecond or two, and as long as the program's file system takes.
    pub fn spawn(reaper: &dyn Reaper, launch: &Launch) -> Result<Child> {
        let mut command = command(launch)?;
        let (master, slave) = open_pty(launch.size)?;
        command
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave));
        let cgroup = cgroup(launch)?;
        let entrance = cgroup.as_ref().map(Cgroup::entrance).transpose()?;
        let enter = entrance.as_ref().map(File::as_raw_fd);
        let before_exec = move || {
            enter.map_or(Ok(()), join)?;
            before_exec()
        };
        // SAFETY: they make system calls and nothing else: they take no lock and no memory.
        unsafe { command.pre_exec(before_exec) };

        let mut held = Held::new(reaper);
        let mut child = command
            .spawn()
            .map_err(|error| find::cannot_run(&launch.command[0], &error))?;
        held.child = Some(child.id());
        match open(child.id()) {
            Ok(pidfd) => Ok(Child {
                pid: child.id(),
                pidfd,
                master: Some(master),
                cgroup,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes out this side's end of the PTY, for reading and writing; once.
    pub fn take_master(&mut self) -> Option<OwnedFd> {
        self.master.take()
    }

    /// How it ended, once it has; it is left to be reaped.
    pub fn status(&self) -> Ended {
        match self.wait(WaitIdOptions::NOWAIT) {
            Err(error) => Ended::Unknown(format!("waiting for the process: {error}")),
            Ok(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Ended::Code(code),
                (None, Some(signal)) => Ended::Signal(signal),
                (None, None) => Ended::Unknown("the process has no exit status".to_owned()),
            },
        }
    }

    /// It has ended: its cgroup is removed when everything in it has.
    pub fn ended(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    /// Kills it; it is left to be reaped.
    pub fn kill(&self) {
        // By descriptor: a number would be another process's if somebody else had reaped it.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn wait(&self, options: WaitIdOptions) -> io::Result<WaitIdStatus> {
        let process = WaitId::PidFd(self.pidfd.as_fd());
        let status = waitid(process, WaitIdOptions::EXITED | options)?;
        status.ok_or_else(|| io::Error::other("waitid returned without a status"))
    }
}

/// Becomes readable when the process ends.
impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // A pidfd that does not block says EAGAIN where waitid(2) would wait.
        let _ = fcntl_setfl(&self.pidfd, OFlags::empty());
        let _ = self.wait(WaitIdOptions::empty());
    }
}

/// While this lives, nobody else reaps.
struct Held<'a> {
    reaper: &'a dyn Reaper,
    child: Option<u32>,
}

impl<'a> Held<'a> {
    fn new(reaper: &'a dyn Reaper) -> Self {
        reaper.hold();
        Held {
            reaper,
            child: None,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.reaper.release(self.child);
    }
}

/// Changes the size of the terminal whose master `master` is; the kernel notifies the program.
pub fn set_size(master: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_col: size.cols,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// The two ends of a new PTY: the daemon's, non-blocking, and the program's.
fn open_pty(size: Size) -> Result<(OwnedFd, OwnedFd)> {
    let size = PtySize {
        cols: size.cols,
        rows: size.rows,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size).map_err(|error| {
        Error::unavailable(format!("no terminal can be opened: {error}"))
            .hint("`sysctl kernel.pty.max` and `ulimit -n` set how many there can be")
    })?;
    let descriptor = pair
        .master
        .as_raw_fd()
        .ok_or_else(|| Error::internal("the terminal has no descriptor"))?;
    // SAFETY: `pair.master` keeps the descriptor open until after the call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let master = descriptor.try_clone_to_owned()?;
    let flags = fcntl_getfl(&master).map_err(io::Error::from)?;
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(io::Error::from)?;
    // portable-pty does not give away its own: it would close every descriptor in the forked
    // child, also the one through which `Command` reports why the program was not executed.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).map_err(io::Error::from)?;
    Ok((master, slave))
}

/// The cgroup that the program is to begin in, if it needs one of its own.
fn cgroup(launch: &Launch) -> Result<Option<Cgroup>> {
    if launch.limits.is_empty() {
        return Ok(None);
    }
    let mark = |name| {
        let mark = launch.environment.get(OsStr::new(name));
        mark.and_then(|mark| mark.to_str()).unwrap_or_default()
    };
    let (instance, session) = (mark(INSTANCE_MARKER), mark(SESSION_MARKER));
    Cgroup::make(instance, session, &launch.limits).map(Some)
}

fn command(launch: &Launch) -> Result<Command> {
    // `Command` would report either as if it were the program's.
    let directory = launch.directory.display();
    if !launch.directory.is_dir() {
        return Err(Error::refused(format!(
            "`{directory}` is no longer a directory"
        )));
    }
    if let Err(error) = access(&launch.directory, Access::EXEC_OK) {
        return Err(Error::refused(format!(
            "the directory `{directory}` cannot be entered: {error}"
        )));
    }
    let name = &launch.command[0];
    let path = launch.environment.get(OsStr::new("PATH"));
    let found = find::require(name, path.map(|path| &**path), &launch.directory)?;
    // A script is given its own file's name as it is written here.
    let mut command = match name.contains('/') {
        true => Command::new(name),
        false => Command::new(found),
    };
    command
        .arg0(name)
        .args(&launch.command[1..])
        .current_dir(&launch.directory)
        .env_clear()
        .envs(&launch.environment);
    Ok(command)
}
