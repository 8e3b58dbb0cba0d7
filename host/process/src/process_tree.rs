//! Ending everything that an agent started, children that left its session included.
//!
//! The members of a tree are found through `/proc`: by the marker that every process of the agent
//! inherits in its environment, by the leader's session, and by descent from one of these. A
//! process that wiped its environment, left the session *and* lost its parent is not found.
//!
//! A lack of descriptors is never taken for the absence of a process: what has to be opened is
//! opened in a table of its own, and where even that fails it is an error.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::time::{Instant, sleep, timeout_at};

use crate::descriptor::watch;
use crate::processes::{Process, Processes, apart};
use crate::{Error, ErrorKind, Result, is_shortage};

pub use crate::processes::Stat;

/// How long a killed process may take to disappear before it is given up on. It needs a moment of a
/// processor for that, for which it may have to wait.
const KILL_PATIENCE: Duration = Duration::from_secs(3);

/// The pause before the next look at a process that cannot be watched, or before the next try at
/// what failed for a lack.
const PAUSE: Duration = Duration::from_millis(50);

/// The same when nobody waits for it.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// The processes of one agent, or of all agents of a daemon.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    mark: Mark,
    leader: Option<Leader>,
    /// What descends from these belongs to somebody else.
    keepers: Vec<i32>,
}

/// The variable, with its value, that the processes have in their environment.
#[derive(Clone, Debug)]
enum Mark {
    /// `AGENTD_SESSION`
    Session(Vec<u8>),
    /// `AGENTD_INSTANCE`
    Instance(Vec<u8>),
}

/// The first process, which leads a session unless it changed that.
#[derive(Clone, Copy, Debug)]
struct Leader {
    pid: i32,
    /// As in [`Stat::started`].
    started: Option<u64>,
}

impl ProcessTree {
    /// The tree of the session `id`, whose first process is `leader`. That has not been reaped while
    /// the tree is ended: else its number may be another process's by then.
    pub fn new(id: &str, leader: u32) -> Self {
        // Session 0 is that of everything whose leader is outside this PID namespace.
        let pid = Some(leader.cast_signed()).filter(|pid| *pid != 0);
        ProcessTree {
            mark: Mark::Session(id.as_bytes().to_vec()),
            leader: pid.map(|pid| Leader { pid, started: None }),
            keepers: Vec::new(),
        }
    }

    /// The same where somebody else waits for the first process, and so may reap it at any time: its
    /// number counts unless it is that of a process that did not begin at `started`
    /// ([`Stat::started`]).
    pub fn of(id: &str, leader: u32, started: u64) -> Self {
        let mut tree = ProcessTree::new(id, leader);
        if let Some(leader) = &mut tree.leader {
            leader.started = Some(started);
        }
        tree
    }

    /// What is left of the session `id` when its first process has long ended, whose number may
    /// by now be somebody else's: only what carries the marker, with its descendants.
    pub fn marked(id: &str) -> Self {
        ProcessTree::new(id, 0)
    }

    /// What an earlier daemon of this `instance` left behind, where agents have the variable
    /// `AGENTD_INSTANCE` ([`INSTANCE_MARKER`](crate::environment::INSTANCE_MARKER)). To be ended
    /// before anything is started: agents of this daemon belong to it as well.
    pub fn of_instance(instance: &str) -> Self {
        ProcessTree {
            mark: Mark::Instance(instance.as_bytes().to_vec()),
            leader: None,
            keepers: Vec::new(),
        }
    }

    /// Without what descends from these processes, which keep it.
    #[must_use]
    pub fn but_of(mut self, keepers: &[u32]) -> Self {
        let keepers = keepers.iter().map(|pid| pid.cast_signed());
        self.keepers.extend(keepers);
        self
    }

    /// The ids of the sessions that have processes with this value of `AGENTD_INSTANCE`, none of them
    /// on a terminal: who was on one has lost it, and runs on all the same. For a backend whose agents
    /// outlive the daemon on terminals of others, and which therefore has a value of its own for them.
    pub async fn without_terminal(mark: &str) -> Result<Vec<String>> {
        let mark = Mark::Instance(mark.as_bytes().to_vec());
        let processes = Processes::now().await?;
        let mut have_terminal: HashMap<&[u8], bool> = HashMap::new();
        for process in processes.filter(|process| mark.is_on(process)) {
            if let Some(session) = &process.markers.session {
                *have_terminal.entry(session).or_default() |= process.stat.has_terminal;
            }
        }
        let lost = have_terminal.into_iter().filter(|(_, has)| !has);
        Ok(lost
            .filter_map(|(id, _)| String::from_utf8(id.to_vec()).ok())
            .collect())
    }

    /// How many processes there are now.
    pub async fn count(&self) -> Result<usize> {
        Ok(self.members(&*Processes::now().await?).len())
    }

    /// Ends every process: HUP at once, TERM after a quarter of `grace`, KILL after all of it.
    /// Answers when none is left; zombies do not count. An error names those that would not go, or
    /// is [`Error::unavailable`] when the machine lacks what it takes to find them.
    pub async fn end(&self, grace: Duration) -> Result<()> {
        let begin = Instant::now();
        let steps = [
            (&[Signal::HUP, Signal::CONT][..], Some(begin + grace / 4)),
            (&[Signal::TERM, Signal::CONT][..], Some(begin + grace)),
            (&[Signal::KILL][..], None),
        ];
        let mut lacking = None;
        for (signals, deadline) in steps {
            // On a busy machine the steps before may have taken longer than they should.
            let deadline = deadline.unwrap_or_else(|| Instant::now() + KILL_PATIENCE);
            lacking = match self.signal_until(signals, deadline).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) if error.kind == ErrorKind::Unavailable => Some(error),
                Err(error) => return Err(error),
            };
        }
        if let Some(error) = lacking {
            return Err(error);
        }
        match self.members(&*Processes::now().await?).as_slice() {
            [] => Ok(()),
            left => Err(Error::internal(format!(
                "processes {left:?} did not end when killed"
            ))),
        }
    }

    /// Ends what is left when the first process has ended by itself. Where the machine lacks what it
    /// takes, it is tried until it is possible. What cannot be ended is logged.
    pub async fn end_rest(&self, grace: Duration) {
        let mut lacking = false;
        while let Err(error) = self.end(grace).await {
            if error.kind != ErrorKind::Unavailable {
                tracing::warn!(%error, "the agent ended, its children did not");
                return;
            }
            if !lacking {
                tracing::warn!(%error, "the agent ended; its children cannot be looked for yet");
            }
            lacking = true;
            sleep(LONG_PAUSE).await;
        }
    }

    /// Signals each member once, newcomers too, until none is left (true) or the time is up.
    async fn signal_until(&self, signals: &'static [Signal], deadline: Instant) -> Result<bool> {
        let mut signalled = HashSet::new();
        loop {
            let step = self.step(signals, &mut signalled, deadline).await;
            match step {
                Ok(Step::AllGone) => return Ok(true),
                Ok(Step::Again) => {}
                Err(error) if error.kind != ErrorKind::Unavailable => return Err(error),
                // Others give back what is lacking.
                Err(error) => match Instant::now() + PAUSE < deadline {
                    true => sleep(PAUSE).await,
                    false => return Err(error),
                },
                Ok(Step::TimeIsUp) => return Ok(false),
            }
        }
    }

    async fn step(
        &self,
        signals: &'static [Signal],
        signalled: &mut HashSet<i32>,
        deadline: Instant,
    ) -> Result<Step> {
        let processes = Processes::now().await?;
        let members = self.members(&processes);
        if members.is_empty() {
            return Ok(Step::AllGone);
        }
        let new: Vec<i32> = members
            .iter()
            .copied()
            .filter(|pid| !signalled.contains(pid))
            .collect();
        if !new.is_empty() {
            let sent = new.clone();
            let processes = processes.clone();
            apart(move || send(&processes, &sent, signals)).await??;
            signalled.extend(new);
        }
        for pid in members {
            if !has_ended(&processes, pid, deadline).await? {
                return Ok(match Instant::now() < deadline {
                    true => Step::Again,
                    false => Step::TimeIsUp,
                });
            }
        }
        Ok(Step::Again)
    }

    fn members(&self, processes: &Processes) -> Vec<i32> {
        let leader = self.leader.filter(|leader| {
            let now = processes
                .get(leader.pid)
                .map(|process| process.stat.started);
            // Nobody else can have the number while anybody is in its session.
            now.is_none() || leader.started.is_none() || now == leader.started
        });
        // Whoever wiped its environment is still in the terminal session of one that did not.
        let sessions: HashSet<i32> = match &self.mark {
            Mark::Session(_) => HashSet::new(),
            Mark::Instance(_) => processes
                .filter(|process| self.mark.is_on(process) && process.stat.session != 0)
                .map(|process| process.stat.session)
                .collect(),
        };
        let mut members = processes.tree(|pid, process| {
            let is_led = |leader: Leader| process.stat.session == leader.pid || pid == leader.pid;
            leader.is_some_and(is_led)
                || self.mark.is_on(process)
                || sessions.contains(&process.stat.session)
        });
        if !self.keepers.is_empty() {
            members.retain(|pid| !processes.descends(*pid, |pid| self.keepers.contains(&pid)));
        }
        members
    }
}

impl Mark {
    fn is_on(&self, process: &Process) -> bool {
        let (value, found) = match self {
            Mark::Session(value) => (value, &process.markers.session),
            Mark::Instance(value) => (value, &process.markers.instance),
        };
        found.as_ref() == Some(value)
    }
}

enum Step {
    AllGone,
    Again,
    TimeIsUp,
}

/// Signals those that still are the processes in the picture.
fn send(processes: &Processes, pids: &[i32], signals: &[Signal]) -> io::Result<()> {
    for pid in pids {
        if let Some(pidfd) = open(processes, *pid)? {
            for signal in signals {
                // Gone already, or not ours to signal: the next look shows which.
                let _ = pidfd_send_signal(&pidfd, *signal);
            }
        }
    }
    Ok(())
}

/// Waits for the end of a process. False when the time is up, or when it is to be looked for again
/// because no descriptor is free to watch it with.
async fn has_ended(processes: &Arc<Processes>, pid: i32, deadline: Instant) -> Result<bool> {
    let watched = open(processes, pid).and_then(|pidfd| {
        pidfd
            .map(|pidfd| watch(pidfd, Interest::READABLE))
            .transpose()
    });
    match watched {
        Ok(None) => Ok(true),
        Ok(Some(pidfd)) => Ok(timeout_at(deadline, pidfd.readable()).await.is_ok()),
        Err(error) if is_shortage(&error) => {
            let _ = timeout_at(deadline, sleep(PAUSE)).await;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A descriptor of a process in the picture; none when that is gone.
fn open(processes: &Processes, pid: i32) -> io::Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    match pidfd_open(number, PidfdFlags::NONBLOCK) {
        // The number may have changed hands meanwhile; from here on it cannot.
        Ok(pidfd) => Ok(processes.is_still(pid)?.then_some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
