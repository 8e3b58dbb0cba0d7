//! Ending everything that an agent started, children that left its session included.
//!
//! The members of a tree are found through `/proc`: by the marker that every process of the agent
//! inherits in its environment, by the leader's session, and by descent from one of these. A
//! process that wiped its environment, left the session *and* lost its parent is not found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};

use crate::descriptor::watch;
use crate::environment::SESSION_MARKER;
use crate::{Error, Result};

/// How long a killed process may take to disappear before it is given up on.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// How often a process that is in the middle of an exec is looked at, a millisecond apart.
const EXEC_PATIENCE: u32 = 200;

/// Neither a process nor a session has this number.
const NOBODY: i32 = -1;

/// The processes of one agent.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    /// `AGENTD_SESSION=<id>` as it stands in the environment.
    marker: Vec<u8>,
    leader: i32,
}

impl ProcessTree {
    /// The tree of the session `id`, whose first process is or was `leader`.
    pub fn new(id: &str, leader: u32) -> Self {
        ProcessTree {
            marker: format!("{SESSION_MARKER}={id}").into_bytes(),
            leader: leader.cast_signed(),
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
        let tree = self.clone();
        tokio::task::spawn_blocking(move || tree.members())
            .await
            .map_err(|error| Error::internal(format!("reading /proc: {error}")))?
            .map_err(|error| Error::internal(format!("reading /proc: {error}")))
    }

    fn members(&self) -> std::io::Result<Vec<Member>> {
        let own = std::process::id().cast_signed();
        let mut parents = HashMap::new();
        let mut living = HashMap::new();
        let mut inside = HashSet::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // The descriptor comes first: whatever is read afterwards, a signal through it can
            // only reach the process that had this number at this moment.
            let Some(pidfd) = Pid::from_raw(pid).filter(|_| pid != own).and_then(open) else {
                continue;
            };
            let Some(stat) = Stat::read(pid).filter(|stat| !stat.dead) else {
                continue;
            };
            parents.insert(pid, stat.parent);
            if stat.session == self.leader || pid == self.leader || self.marks(pid) {
                inside.insert(pid);
            }
            living.insert(pid, pidfd);
        }
        let descends = |pid: &i32| {
            std::iter::successors(Some(*pid), |pid| parents.get(pid).copied())
                .take(parents.len() + 1)
                .any(|ancestor| inside.contains(&ancestor))
        };
        Ok(living
            .into_iter()
            .filter(|(pid, _)| descends(pid))
            .map(|(pid, pidfd)| Member { pid, pidfd })
            .collect())
    }

    fn marks(&self, pid: i32) -> bool {
        for _ in 0..EXEC_PATIENCE {
            let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
                return false;
            };
            if !environ.is_empty() {
                return environ
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == self.marker);
            }
            if !Stat::read(pid).is_some_and(|stat| stat.starting && !stat.dead) {
                return false;
            }
            // In the middle of an exec it has no environment yet; that takes a moment at most.
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

struct Member {
    pid: i32,
    pidfd: OwnedFd,
}

fn open(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::NONBLOCK).ok()
}

/// The fields of `/proc/<pid>/stat` (proc(5)) that place a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// A zombie, or about to disappear.
    pub dead: bool,
    /// The parent's process id.
    pub parent: i32,
    /// The process id of the session's leader.
    pub session: i32,
    /// It has no environment, not even an empty one: it is in the middle of an exec, is a thread
    /// of the kernel, or may not be looked at.
    pub starting: bool,
}

impl Stat {
    /// Reads them; none when there is no such process.
    pub fn read(pid: i32) -> Option<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command stands in parentheses and may hold anything, parentheses included.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        // Fields 4 and 6 were parent and session; 51 is where the environment ends.
        let starting = fields.nth(44)? == "0";
        Some(Stat {
            dead,
            parent,
            session,
            starting,
        })
    }
}
