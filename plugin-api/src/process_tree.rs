//! Ending everything that an agent started, children that left its session included.
//!
//! The members of a tree are found through `/proc`: by the marker that every process of the agent
//! inherits in its environment, by the leader's session, and by descent from one of these. A
//! process that wiped its environment, left the session *and* lost its parent is not found.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};

use crate::descriptor::watch;
use crate::processes::Processes;
use crate::{Error, Result};

pub use crate::processes::Stat;

/// How long a killed process may take to disappear before it is given up on.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Neither a process nor a session has this number.
const NOBODY: i32 = -1;

/// The processes of one agent.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    /// The value of `AGENTD_SESSION`.
    marker: Vec<u8>,
    leader: i32,
}

impl ProcessTree {
    /// The tree of the session `id`, whose first process is or was `leader`.
    pub fn new(id: &str, leader: u32) -> Self {
        // Session 0 is that of everything whose leader is outside this PID namespace.
        let leader = if leader == 0 {
            NOBODY
        } else {
            leader.cast_signed()
        };
        ProcessTree {
            marker: id.as_bytes().to_vec(),
            leader,
        }
    }

    /// What is left of the session `id` when its first process has long ended, whose number may
    /// by now be somebody else's: only what carries the marker, with its descendants.
    pub fn marked(id: &str) -> Self {
        ProcessTree {
            leader: NOBODY,
            ..ProcessTree::new(id, 0)
        }
    }

    /// Ends every process: HUP at once, TERM after a quarter of `grace`, KILL after all of it.
    /// Answers when none is left; zombies do not count. An error names those that would not go.
    pub async fn end(&self, grace: Duration) -> Result<()> {
        let begin = Instant::now();
        let steps = [
            (&[Signal::HUP, Signal::CONT][..], begin + grace / 4),
            (&[Signal::TERM, Signal::CONT][..], begin + grace),
            (&[Signal::KILL][..], begin + grace + KILL_PATIENCE),
        ];
        for (signals, deadline) in steps {
            if self.signal_until(signals, deadline).await? {
                return Ok(());
            }
        }
        let left: Vec<i32> = self
            .scan()
            .await?
            .into_iter()
            .map(|member| member.pid)
            .collect();
        match left.as_slice() {
            [] => Ok(()),
            left => Err(Error::internal(format!(
                "processes {left:?} did not end when killed"
            ))),
        }
    }

    /// Signals each member once, newcomers too, until none is left (true) or the time is up.
    async fn signal_until(&self, signals: &[Signal], deadline: Instant) -> Result<bool> {
        let mut signalled = HashSet::new();
        loop {
            let members = self.scan().await?;
            if members.is_empty() {
                return Ok(true);
            }
            for member in &members {
                if signalled.insert(member.pid) {
                    for signal in signals {
                        // Gone already, or not ours to signal: the next scan tells.
                        let _ = pidfd_send_signal(&member.pidfd, *signal);
                    }
                }
            }
            for member in members {
                let ended = watch(member.pidfd, Interest::READABLE)?;
                if timeout_at(deadline, ended.readable()).await.is_err() {
                    return Ok(false);
                }
            }
        }
    }

    async fn scan(&self) -> Result<Vec<Member>> {
        let processes = Processes::now()
            .await
            .map_err(|error| Error::internal(format!("reading /proc: {error}")))?;
        let pids = processes.tree(|pid, process| {
            process.stat.session == self.leader
                || pid == self.leader
                || process.marker.as_ref() == Some(&self.marker)
        });
        let member = |pid| {
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
            // The number may have changed hands meanwhile; from here on it cannot.
            let same = processes.is_still(pid);
            same.then_some(Member { pid, pidfd })
        };
        Ok(pids.into_iter().filter_map(member).collect())
    }
}

struct Member {
    pid: i32,
    pidfd: OwnedFd,
}
