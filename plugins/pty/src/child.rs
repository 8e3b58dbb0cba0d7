use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::descriptor::watch;
use agentd_plugin_api::environment::{self, SESSION_MARKER};
use agentd_plugin_api::{
    Error, ExitStatus, Host, Result, SHORTAGE_HINT, SessionSpec, Size, is_shortage,
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::program;

/// portable-pty sets close-on-exec only after it has opened the descriptors, so nothing else may
/// be spawned in between.
static SPAWN: Mutex<()> = Mutex::new(());

/// A process that leads a session of its own on a PTY. Killed when it is dropped before
/// [`wait`](Child::wait) has returned.
pub struct Child {
    process: Process,
    pidfd: AsyncFd<OwnedFd>,
    /// Non-blocking.
    master: Option<OwnedFd>,
}

impl Child {
    /// Starts the program of `spec`.
    pub async fn spawn(host: &Host, spec: &SessionSpec) -> Result<Child> {
        let command = command(spec)?;
        // It takes less than to wake another thread for it.
        if let Ok(turn) = SPAWN.try_lock() {
            return spawn(host, spec, command, turn);
        }
        let (host, spec) = (host.clone(), spec.clone());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _entered = runtime.enter();
            let turn = SPAWN.lock().unwrap_or_else(PoisonError::into_inner);
            spawn(&host, &spec, command, turn)
        })
        .await
        .map_err(|error| Error::internal(format!("starting the program: {error}")))?
    }

    pub fn pid(&self) -> u32 {
        self.process.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Takes out the daemon's end of the PTY, for reading and writing; once.
    pub fn take_master(&mut self) -> Option<OwnedFd> {
        self.master.take()
    }

    /// Waits for the end of the process and reaps it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.pidfd.readable().await?.retain_ready();
        let status = self.process.reap()?;
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::code(code),
            (None, Some(signal)) => ExitStatus::signal(signal),
            (None, None) => ExitStatus::default(),
        })
    }
}

/// A child. Its number is its own until it is reaped; killed when it is dropped before.
struct Process {
    pid: Pid,
    reaped: bool,
}

impl Process {
    fn reap(&mut self) -> io::Result<WaitIdStatus> {
        let status = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        // An error is that there is no such child any more.
        self.reaped = true;
        status?.ok_or_else(|| io::Error::other("waitid returned without a status"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.reap();
        }
    }
}

/// Changes the size of the terminal whose master `master` is; the kernel tells the program.
pub fn set_size(master: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_col: size.cols,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}

/// Takes a millisecond or two.
fn spawn(
    host: &Host,
    spec: &SessionSpec,
    command: CommandBuilder,
    _turn: MutexGuard<'_, ()>,
) -> Result<Child> {
    let size = PtySize {
        cols: spec.size.cols,
        rows: spec.size.rows,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size).map_err(|error| {
        Error::unavailable(format!("no terminal can be opened: {error}"))
            .hint("`sysctl kernel.pty.max` and `ulimit -n` set how many there can be")
    })?;
    let spawning = host.spawning();
    let child = pair.slave.spawn_command(command).map_err(|error| {
        let message = format!("program `{}` cannot be started: {error}", spec.command[0]);
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
        match causes.any(is_shortage) {
            true => Error::unavailable(message).hint(SHORTAGE_HINT),
            false => Error::refused(message),
        }
    })?;
    let pid = child
        .process_id()
        .and_then(|pid| Pid::from_raw(pid.cast_signed()))
        .ok_or_else(|| Error::internal("the program has no process id"))?;
    spawning.claim(pid.as_raw_nonzero().get().cast_unsigned());

    let process = Process { pid, reaped: false };
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from)?;
    let pidfd = watch(pidfd, Interest::READABLE)?;
    let descriptor = pair
        .master
        .as_raw_fd()
        .ok_or_else(|| Error::internal("the terminal has no descriptor"))?;
    // SAFETY: `pair.master` keeps the descriptor open until after the call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let master = descriptor.try_clone_to_owned()?;
    let flags = fcntl_getfl(&master).map_err(io::Error::from)?;
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(io::Error::from)?;
    Ok(Child {
        process,
        pidfd,
        master: Some(master),
    })
}

fn command(spec: &SessionSpec) -> Result<CommandBuilder> {
    let mut environment = environment::for_agent(&spec.env);
    environment.insert("TERM".into(), "xterm-256color".into());
    environment.insert("COLORTERM".into(), "truecolor".into());
    environment.insert(SESSION_MARKER.into(), spec.id.clone().into());
    environment.insert("PWD".into(), spec.working_dir.clone().into());
    // The request's own variables win over ours, except for the marker.
    for name in ["TERM", "COLORTERM", "PWD"] {
        if let Some(value) = spec.env.get(name) {
            environment.insert(name.into(), value.into());
        }
    }
    // portable-pty would quietly start the program in the home directory instead.
    if !spec.working_dir.is_dir() {
        let directory = spec.working_dir.display();
        return Err(Error::refused(format!(
            "`{directory}` is no longer a directory"
        )));
    }
    let program = program::find(&spec.command[0], &spec.working_dir, &environment)?;
    let mut command = CommandBuilder::new(program);
    command.args(&spec.command[1..]);
    command.cwd(&spec.working_dir);
    command.env_clear();
    for (name, value) in environment {
        command.env(name, value);
    }
    Ok(command)
}
