//! Orphans of agents become children of the daemon, which reaps them.
//!
//! A plugin waits for the children that it started itself, so not every dead child may be reaped
//! here. Left alone are children in the daemon's own session (a plugin's helper programs), and
//! those that a plugin claimed; while one is being started nothing is reaped.

use std::collections::HashSet;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::process_tree::Stat;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use tokio::signal::unix::{SignalKind, signal};

/// What plugins wait for themselves. One for the process.
#[derive(Debug, Default)]
pub struct Children {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    starting: usize,
    /// Children died while one was being started.
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

    /// Makes the daemon the parent of its agents' orphans, and reaps them for as long as the
    /// runtime lives.
    pub fn adopt_orphans(&'static self) -> std::io::Result<()> {
        rustix::process::set_child_subreaper(Some(getpid()))?;
        let mut deaths = signal(SignalKind::child())?;
        tokio::spawn(async move {
            while deaths.recv().await.is_some() {
                let mut state = self.lock();
                match state.starting {
                    0 => reap(&mut state),
                    _ => state.missed = true,
                }
            }
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reap(state: &mut State) {
    let own = getpid().as_raw_nonzero().get();
    // Its leader may be outside this PID namespace. Then the number is 0, which getsid(2) answers
    // too, but rustix takes that for impossible.
    let own_session = Stat::read(own).map(|stat| stat.session);
    let children = children();
    // The list is not complete while processes come and go (proc(5)), so a claim is given up only
    // when its process is known to be no child any more.
    state.claimed.retain(|pid| {
        children.contains(pid) || Stat::read(*pid).is_some_and(|stat| stat.parent == own)
    });
    for pid in children.difference(&state.claimed) {
        let Some(stat) = Stat::read(*pid) else {
            continue;
        };
        if stat.dead
            && Some(stat.session) != own_session
            && let Some(pid) = Pid::from_raw(*pid)
        {
            // It is dead and nobody else waits for it, so this returns at once.
            let _ = waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            );
        }
    }
}

/// The daemon's children, from `/proc/self/task/*/children` (proc(5)).
fn children() -> HashSet<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let lists = threads.filter_map(|thread| {
        let thread = thread.ok()?.path();
        fs::read_to_string(thread.join("children")).ok()
    });
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split(' '));
    pids.filter_map(|pid| pid.parse().ok()).collect()
}
