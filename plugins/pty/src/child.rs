use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use agentd_plugin_api::descriptor::watch;
use agentd_plugin_api::environment::{self, INSTANCE_MARKER, SESSION_MARKER};
use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{
    Error, ExitStatus, Host, Result, SessionEvents, SessionSpec, Size, program, threads,
};
use portable_pty::{PtySize, native_pty_system};
use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::before_exec::before_exec;

/// A process that leads a session of its own on a PTY. Until this is dropped, which kills and reaps
/// it, no other process can have its number.
pub struct Child {
    process: Process,
    /// Non-blocking.
    master: Option<OwnedFd>,
}

impl Child {
    /// Starts the program of `spec`. It runs when this returns: the kernel has executed it.
    /// When the caller goes away meanwhile, everything that runs by then is ended, and only after
    /// that are the `events` dropped.
    pub async fn spawn(
        host: &Host,
        instance: &str,
        spec: &SessionSpec,
        events: &SessionEvents,
    ) -> Result<Child> {
        let (host, spec, mut spawned) = (host.clone(), spec.clone(), Spawned::new(spec, events));
        let instance = instance.to_owned();
        let runtime = Handle::current();
        // A file system that does not answer would hold up everything else.
        let spawned = threads::blocking(move || {
            let _entered = runtime.enter();
            spawned.child = Some(spawn(&host, &instance, &spec)?);
            Ok::<_, Error>(spawned)
        });
        spawned.await??.take()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Takes out the daemon's end of the PTY, for reading and writing; once.
    pub fn take_master(&mut self) -> Option<OwnedFd> {
        self.master.take()
    }

    /// Waits for the end of the process, and leaves it to be reaped.
    pub async fn ended(&self) -> io::Result<ExitStatus> {
        self.process.pidfd.readable().await?.retain_ready();
        let status = self.process.wait(WaitIdOptions::NOWAIT)?;
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::code(code),
            (None, Some(signal)) => ExitStatus::signal(signal),
            (None, None) => ExitStatus::default(),
        })
    }
}

/// A child that nobody has reaped. Killed and reaped when it is dropped.
struct Process {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    fn wait(&self, options: WaitIdOptions) -> io::Result<WaitIdStatus> {
        let process = WaitId::PidFd(self.pidfd.as_fd());
        let status = waitid(process, WaitIdOptions::EXITED | options)?;
        status.ok_or_else(|| io::Error::other("waitid returned without a status"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both by descriptor: a number would be another process's if somebody else had reaped it.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        // A pidfd that does not block says EAGAIN where waitid(2) would wait.
        let _ = fcntl_setfl(&self.pidfd, OFlags::empty());
        let _ = self.wait(WaitIdOptions::empty());
    }
}

/// What was started. Ended with everything that it has started itself unless somebody takes it.
struct Spawned {
    runtime: Handle,
    id: String,
    events: SessionEvents,
    child: Option<Child>,
}

impl Spawned {
    fn new(spec: &SessionSpec, events: &SessionEvents) -> Self {
        Spawned {
            runtime: Handle::current(),
            id: spec.id.clone(),
            events: events.clone(),
            child: None,
        }
    }

    fn take(mut self) -> Result<Child> {
        let nothing = || Error::internal("nothing was started");
        self.child.take().ok_or_else(nothing)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        let (id, events) = (std::mem::take(&mut self.id), self.events.clone());
        self.runtime.spawn(async move {
            // Before it is reaped: what it has started descends from it.
            let tree = ProcessTree::new(&id, child.pid());
            if let Err(error) = tree.end(Duration::ZERO).await {
                tracing::warn!(session = id, %error, "undoing a start that was given up");
            }
            drop(child);
            drop(events);
        });
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

/// Takes a millisecond or two, and as long as the program's file system takes.
fn spawn(host: &Host, instance: &str, spec: &SessionSpec) -> Result<Child> {
    let mut command = command(instance, spec)?;
    let (master, slave) = open_pty(spec.size)?;
    command
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave));
    // SAFETY: `before_exec` makes system calls and nothing else: it takes no lock and no memory.
    unsafe { command.pre_exec(before_exec) };

    let spawning = host.spawning();
    let mut child = command
        .spawn()
        .map_err(|error| program::cannot_run(&spec.command[0], &error))?;
    spawning.claim(child.id());
    match open(child.id()) {
        Ok(pidfd) => Ok(Child {
            process: Process {
                pid: child.id(),
                pidfd,
            },
            master: Some(master),
        }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.into())
        }
    }
}

fn open(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    watch(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)
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

fn command(instance: &str, spec: &SessionSpec) -> Result<Command> {
    let mut environment = environment::for_agent(&spec.env);
    environment.insert("TERM".into(), "xterm-256color".into());
    environment.insert("COLORTERM".into(), "truecolor".into());
    environment.insert(SESSION_MARKER.into(), spec.id.clone().into());
    environment.insert(INSTANCE_MARKER.into(), instance.into());
    environment.insert("PWD".into(), spec.working_dir.clone().into());
    // The request's own variables win over ours, except for the markers.
    for name in ["TERM", "COLORTERM", "PWD"] {
        if let Some(value) = spec.env.get(name) {
            environment.insert(name.into(), value.into());
        }
    }
    // `Command` would report either as if it were the program's.
    let directory = spec.working_dir.display();
    if !spec.working_dir.is_dir() {
        return Err(Error::refused(format!(
            "`{directory}` is no longer a directory"
        )));
    }
    if let Err(error) = access(&spec.working_dir, Access::EXEC_OK) {
        return Err(Error::refused(format!(
            "the directory `{directory}` cannot be entered: {error}"
        )));
    }
    let name = &spec.command[0];
    let path = environment.get(std::ffi::OsStr::new("PATH"));
    let found = program::require(name, path.map(|path| &**path), &spec.working_dir)?;
    // A script is given its own file's name as it is written here.
    let mut command = match name.contains('/') {
        true => Command::new(name),
        false => Command::new(found),
    };
    command
        .arg0(name)
        .args(&spec.command[1..])
        .current_dir(&spec.working_dir)
        .env_clear()
        .envs(environment);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use agentd_plugin_api::testing::{Recorder, host};

    use super::*;

    /// The processes with the marker of a session.
    fn marked(id: &str) -> Vec<String> {
        let marker = format!("{SESSION_MARKER}={id}");
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        processes
            .filter(|process| {
                let environment = std::fs::read(process.path().join("environ"));
                let environment = environment.unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == marker.as_bytes())
            })
            .map(|process| process.file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[tokio::test]
    async fn a_start_that_is_given_up_leaves_nothing() {
        let script = "trap '' HUP TERM; setsid sleep 1000 & exec sleep 1000";
        for tenths in [0, 1, 2, 5, 10, 20, 30, 50, 100] {
            let id = format!("given-up-{}-{tenths}", std::process::id());
            let spec = SessionSpec {
                id: id.clone(),
                name: "demo".to_owned(),
                working_dir: std::env::temp_dir(),
                command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
                env: Default::default(),
                size: Size { cols: 80, rows: 24 },
                options: Default::default(),
                label: String::new(),
            };
            let recorder = Recorder::new();
            let events = recorder.events();
            let (given_up, host) = (Duration::from_micros(tenths * 100), host());
            let start = Child::spawn(&host, "test", &spec, &events);
            let started = tokio::time::timeout(given_up, start).await;
            if let Ok(child) = started {
                let child = child.expect("a program that can be started");
                let tree = ProcessTree::new(&id, child.pid());
                tree.end(Duration::ZERO).await.expect("ending the program");
            }
            drop(events);
            recorder.released().await;
            assert_eq!(
                marked(&id),
                [""; 0],
                "after {tenths} tenths of a millisecond"
            );
        }
    }
}
