//! The keeper as a process of its own.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use agentd_process::terminal::Reaper;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::listen;
use rustix::process::{
    DumpableBehavior, Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper,
    set_dumpable_behavior, setsid, waitid,
};

use super::session::lock;
use super::{Keeper, Parts};

/// What follows the name of the program: then come the socket and the build.
pub const VERB: &str = "keep-terminals";

/// As many connections may wait to be accepted.
pub const BACKLOG: i32 = 64;

/// To be called first in `main`, before any thread is started: where this process was launched as a
/// keeper, keeps until there is nothing more to keep, and gives the exit code.
pub fn entered() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != VERB {
        return None;
    }
    let (Some(socket), Some(build)) = (arguments.next(), arguments.next()) else {
        return Some(ExitCode::FAILURE);
    };
    let socket = PathBuf::from(socket);
    let result = keep(&socket, &build.to_string_lossy());
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its log.
            let _ = writeln!(io::stderr(), "the keeper has failed: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Goes on in a child of this process, which then ends: nobody has to wait for a keeper.
fn keep(socket: &Path, build: &str) -> io::Result<()> {
    // SAFETY: there is no other thread yet, so the child is as whole as this process.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => return Ok(()),
    }
    let listener = detach()?;
    // From here on it is this process that others see at the other end.
    listen(&listener, BACKLOG)?;
    let orphans = Arc::new(Orphans::default());
    let reap = orphans.clone();
    let keeper = Keeper::new(Parts {
        listener: Some(listener),
        connection: None,
        reaper: orphans,
        orphans: Some((deaths()?, Box::new(move |deaths| reap.notice(deaths)))),
        build: build.to_owned(),
    })?;
    let result = keeper.run();
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(socket.with_extension("log"));
    result
}

/// Leaves whatever this process has of the daemon that launched it, but for the socket, which is its
/// standard input, and the log, which is its standard error.
fn detach() -> io::Result<OwnedFd> {
    setsid()?;
    // What agents have in their environment passes through here.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // So that they can still be found when their parents have ended.
    set_child_subreaper(Some(getpid()))?;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // Its end would end all programs, and that is for the daemon to decide.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Ignored, children would be reaped by the kernel.
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    std::env::set_current_dir("/")?;
    // SAFETY: nothing in this process has opened anything yet.
    unsafe { libc::close_range(3, u32::MAX, 0) };
    // SAFETY: standard input is open until it is replaced below.
    let listener = fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(0) }, 3)?;
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for standard in [0, 1] {
        // SAFETY: nobody else uses these numbers yet.
        unsafe { libc::dup2(null.as_raw_fd(), standard) };
    }
    Ok(listener)
}

/// Becomes readable when a child has died.
fn deaths() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before it is used. The descriptor is nobody else's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        // Threads that are started later have it blocked as well; a program has nothing blocked.
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Reaps what agents leave behind, and never an agent: that one's number has to stay its own until it
/// is forgotten.
#[derive(Default)]
struct Orphans(Mutex<State>);

#[derive(Default)]
struct State {
    starting: usize,
    /// Somebody died while a program was being started.
    missed: bool,
    agents: HashSet<i32>,
}

impl Reaper for Orphans {
    fn hold(&self) {
        lock(&self.0).starting += 1;
    }

    fn release(&self, child: Option<u32>) {
        let mut state = lock(&self.0);
        state.starting -= 1;
        state.agents.extend(child.map(u32::cast_signed));
        if state.starting == 0 && std::mem::take(&mut state.missed) {
            state.reap();
        }
    }
}

impl Orphans {
    fn notice(&self, deaths: &OwnedFd) {
        let mut signals = [0; 1024];
        while matches!(rustix::io::read(deaths, &mut signals), Ok(count) if count > 0) {}
        let mut state = lock(&self.0);
        match state.starting {
            0 => state.reap(),
            _ => state.missed = true,
        }
    }
}

impl State {
    fn reap(&mut self) {
        self.agents
            .retain(|pid| has_died(*pid, WaitIdOptions::NOWAIT).is_some());
        // The list is not complete while processes come and go (proc(5)), so a look that changed it
        // is followed by another.
        loop {
            let children = children();
            let orphans = children.iter().filter(|pid| !self.agents.contains(pid));
            let reaped =
                orphans.filter(|pid| has_died(**pid, WaitIdOptions::empty()) == Some(true));
            if reaped.count() == 0 {
                return;
            }
        }
    }
}

/// None if it is not a child. Reaps it unless the options say otherwise.
fn has_died(pid: i32, options: WaitIdOptions) -> Option<bool> {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let result = waitid(WaitId::Pid(Pid::from_raw(pid)?), options);
    result.ok().map(|status| status.is_some())
}

/// Those of all threads, from `/proc/self/task/*/children` (proc(5)).
fn children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let lists = threads.flatten().filter_map(|thread| {
        let list = fs::read_to_string(thread.path().join("children"));
        list.ok()
    });
    let numbers = lists.flat_map(|list| {
        let numbers = list.split(' ').filter_map(|pid| pid.parse().ok());
        numbers.collect::<Vec<i32>>()
    });
    numbers.collect()
}
