//! Orphans of agents become children of the daemon, which reaps them.
//!
//! A plugin waits for the children that it started itself, so not every dead child may be reaped
//! here. Left alone are children in the daemon's own session (a plugin's helper programs), and
//! those that a plugin claimed; while one is being started nothing is reaped.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use agentd_plugin_api::process_tree::Stat;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// When children are looked at again that could not be.
const RETRY: Duration = Duration::from_secs(1);

/// What plugins wait for themselves. One for the process.
#[derive(Debug, Default)]
pub struct Children {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    starting: usize,
    /// Children died that could not be looked at: one was being started, or no descriptor was free.
    missed: bool,
    claimed: HashSet<i32>,
}

impl Children {
    /// The process's only value.
    pub fn get() -> &'static Children {
        static CHILDREN: std::sync::LazyLock<Children> =
            std::sync::LazyLock::new(Children::default);
        &CHILDREN
    }

    /// A plugin is about to start a child.
    pub fn hold(&self) {
        self.lock().starting += 1;
    }

    /// The child was started, or not; a claimed one is the plugin's to wait for.
    pub fn release(&self, claimed: Option<u32>) {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
        state.claimed.extend(claimed.map(u32::cast_signed));
        if state.starting == 0 && std::mem::take(&mut state.missed) {
            reap(&mut state);
        }
    }

    /// Whether somebody waits for this child.
    pub fn is_claimed(&self, pid: i32) -> bool {
        self.lock().claimed.contains(&pid)
    }

    /// Makes the daemon the parent of its agents' orphans, and reaps them for as long as the
    /// runtime lives.
    pub fn adopt_orphans(&'static self) -> io::Result<()> {
        rustix::process::set_child_subreaper(Some(getpid()))?;
        let mut deaths = signal(SignalKind::child())?;
        tokio::spawn(async move {
            let mut missed = false;
            loop {
                // A lack of descriptors passes without a signal.
                let pause = if missed { RETRY } else { Duration::MAX };
                if let Ok(None) = timeout(pause, deaths.recv()).await {
                    return;
                }
                let mut state = self.lock();
                match state.starting {
                    0 => reap(&mut state),
                    _ => state.missed = true,
                }
                missed = state.missed;
            }
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reap(state: &mut State) {
    state.claimed.retain(|pid| is_child(*pid));
    // An error is that no descriptor is free to look with.
    state.missed = reap_orphans(&state.claimed).is_err();
}

/// The list of children is not complete while processes come and go (proc(5)), so a look that
/// changed it is followed by another.
fn reap_orphans(claimed: &HashSet<i32>) -> io::Result<()> {
    // The session's leader may be outside this PID namespace. Then the number is 0, which getsid(2)
    // answers too, but rustix takes that for impossible.
    let own = Stat::read(getpid().as_raw_nonzero().get())?.map(|stat| stat.session);
    loop {
        let mut reaped = false;
        for pid in children()?.difference(claimed) {
            let is_orphan = |stat: Stat| stat.dead && Some(stat.session) != own;
            if Stat::read(*pid)?.is_some_and(is_orphan)
                && let Some(pid) = Pid::from_raw(*pid)
            {
                // None while a first thread is dead and others of its process live.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                reaped |= matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)));
            }
        }
        if !reaped {
            return Ok(());
        }
    }
}

/// Asked without a descriptor, and without reaping it.
fn is_child(pid: i32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Pid::from_raw(pid).is_some_and(|pid| waitid(WaitId::Pid(pid), options).is_ok())
}

/// The daemon's children, from `/proc/self/task/*/children` (proc(5)).
fn children() -> io::Result<HashSet<i32>> {
    let mut children = HashSet::new();
    for thread in fs::read_dir("/proc/self/task")? {
        match fs::read_to_string(thread?.path().join("children")) {
            Ok(list) => children.extend(list.split(' ').filter_map(|pid| pid.parse::<i32>().ok())),
            Err(error) if has_ended(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// What reading about a thread fails with when there is none any more.
fn has_ended(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::SRCH)
    )
}
