//! Noticing that an agent ended, and how.
//!
//! The agent's process and the server's are watched through descriptors (pidfd_open(2)): the
//! kernel reports when one of them ends, so nothing is polled while the agent runs, and no hook of
//! tmux's is needed. Only how the agent ended has to be asked of tmux, whose child it is.

use std::os::fd::OwnedFd;
use std::time::Duration;

use agentd_plugin_api::process_tree::{ProcessTree, Stat};
use agentd_plugin_api::{ErrorKind, ExitStatus, Result, SessionEvents, descriptor, tracing};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::place::{Pane, Place};
use crate::server::{Failure, Server};

/// How long what an agent leaves running may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// The pause before tmux is asked again: twice as long each time, from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// Waits until the agent and all that it started are gone, and reports its end.
pub async fn watch(
    server: &Server,
    place: &Place,
    process: Option<Process>,
    id: &str,
    events: &SessionEvents,
) {
    let end = match wait(server, place, process, id, events).await {
        Ok(tree) => {
            tree.end_rest(GRACE).await;
            ask(server, place, events).await
        }
        Err(error) => Err(format!("the agent cannot be watched: {error}")),
    };
    match end {
        Ok(status) => events.exited(status),
        Err(reason) => events.lost(reason),
    }
}

/// Returns when the agent's process, or the server's, has ended: what may be left of the agent.
async fn wait(
    server: &Server,
    place: &Place,
    mut agent: Option<Process>,
    id: &str,
    events: &SessionEvents,
) -> Result<ProcessTree> {
    let mut lacking = false;
    let tmux = loop {
        let look = async {
            if agent.is_none() {
                agent = find(server, place).await?;
            }
            open(place.server)
        };
        match look.await {
            Ok(tmux) => break tmux,
            // No descriptor is free, which says nothing about the agent.
            Err(error) if error.kind == ErrorKind::Unavailable => {
                lacking = true;
                events.unknown(error.message);
                sleep(PAUSES.1).await;
            }
            Err(error) => return Err(error),
        }
    };
    let Some(agent) = agent else {
        return Ok(ProcessTree::marked(id));
    };
    if let Some(tmux) = tmux {
        if lacking {
            events.running(Some(place.pid));
        }
        tokio::select! {
            ended = agent.ended() => ended?,
            ended = tmux.ended() => ended?,
        }
    }
    Ok(ProcessTree::of(id, place.pid, agent.started))
}

/// The agent's process, if it runs.
async fn find(server: &Server, place: &Place) -> Result<Option<Process>> {
    let process = open(place.pid)?;
    // Asked after the descriptor was opened: while tmux has this process, no other can have its
    // number, so the descriptor is the agent's.
    if let Ok(pane) = place.pane(server).await
        && pane != Pane::Running(place.pid)
    {
        return Ok(None);
    }
    Ok(process)
}

/// A process, whoever waits for it.
#[derive(Debug)]
pub struct Process {
    descriptor: AsyncFd<OwnedFd>,
    /// As in [`Stat::started`].
    pub started: u64,
}

impl Process {
    /// Waits for its end.
    pub async fn ended(&self) -> Result<()> {
        self.descriptor.readable().await?.retain_ready();
        Ok(())
    }
}

/// The process of that number, if there is one. Whose it is has to be made sure of afterwards.
pub fn open(pid: u32) -> Result<Option<Process>> {
    let Some(number) = Pid::from_raw(pid.cast_signed()) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(number, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(std::io::Error::from(error).into()),
    };
    let Some(stat) = Stat::read(pid.cast_signed())? else {
        return Ok(None);
    };
    Ok(Some(Process {
        descriptor: descriptor::watch(pidfd, Interest::READABLE)?,
        started: stat.started,
    }))
}

/// How the agent ended, or why nobody knows. tmux may need a moment to notice.
async fn ask(server: &Server, place: &Place, events: &SessionEvents) -> Result<ExitStatus, String> {
    let (mut pause, longest) = PAUSES;
    loop {
        match place.pane(server).await {
            Ok(Pane::Ended(Some(status))) => return Ok(status),
            Ok(Pane::Running(pid) | Pane::Reaped(pid)) if pid != place.pid => {
                return Err("another program was started in the agent's tmux pane".to_owned());
            }
            Ok(Pane::Gone) => return Err("the agent's tmux pane was closed".to_owned()),
            Err(Failure::NoServer(_)) => return Err("the tmux server ended".to_owned()),
            Ok(Pane::Running(_) | Pane::Reaped(_) | Pane::Ended(None)) => remind(place),
            Err(Failure::Refused(words)) => events.unknown(words),
            Err(Failure::Client(error)) => events.unknown(error.message),
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// tmux 3.3a under load now and then misses that a child ended, and leaves it a zombie until it is
/// notified of the next one. This notifies it once more, which does nothing if nothing was missed.
fn remind(place: &Place) {
    if let Some(tmux) = Pid::from_raw(place.server.cast_signed())
        && let Err(error) = kill_process(tmux, Signal::CHILD)
    {
        tracing::debug!(%error, "the tmux server cannot be signalled");
    }
}
