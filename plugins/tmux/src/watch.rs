//! Noticing that an agent ended, and how.
//!
//! The agent's process and the server's are watched through descriptors (pidfd_open(2)): the
//! kernel tells when one of them ends, so nothing is polled while the agent runs, and no hook of
//! tmux's is needed. Only how the agent ended has to be asked of tmux, whose child it is.

use std::time::Duration;

use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{ExitStatus, Result, SessionEvents, descriptor, tracing};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::Interest;
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
    process: Option<Descriptor>,
    id: &str,
    events: &SessionEvents,
) {
    let end = match wait(server, place, process).await {
        Ok(()) => {
            end_tree(place, id).await;
            ask(server, place, events).await
        }
        Err(error) => Err(format!("the agent cannot be watched: {error}")),
    };
    match end {
        Ok(status) => events.exited(status),
        Err(reason) => events.lost(reason),
    }
}

/// Returns when the agent's process, or the server's, has ended.
async fn wait(server: &Server, place: &Place, process: Option<Descriptor>) -> Result<()> {
    let Some(tmux) = open(place.server)? else {
        return Ok(());
    };
    let agent = match process {
        Some(process) => process,
        None => match find(server, place).await? {
            Some(process) => process,
            None => return Ok(()),
        },
    };
    tokio::select! {
        ended = agent.readable() => drop(ended?),
        ended = tmux.readable() => drop(ended?),
    }
    Ok(())
}

/// The agent's process, if it runs.
async fn find(server: &Server, place: &Place) -> Result<Option<Descriptor>> {
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

pub type Descriptor = tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>;

/// Becomes readable when the process ends. None when there is no such process.
pub fn open(pid: u32) -> Result<Option<Descriptor>> {
    let Some(pid) = Pid::from_raw(pid.cast_signed()) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => Ok(Some(descriptor::watch(pidfd, Interest::READABLE)?)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

async fn end_tree(place: &Place, id: &str) {
    if let Err(error) = ProcessTree::new(id, place.pid).end(GRACE).await {
        tracing::warn!(session = id, %error, "the agent ended, its children did not");
    }
}

/// How the agent ended, or why nobody knows. tmux may need a moment to notice.
async fn ask(server: &Server, place: &Place, events: &SessionEvents) -> Result<ExitStatus, String> {
    let (mut pause, longest) = PAUSES;
    loop {
        match place.pane(server).await {
            Ok(Pane::Ended(Some(status))) => return Ok(status),
            Ok(Pane::Running(pid)) if pid != place.pid => {
                return Err("another program was started in the agent's tmux pane".to_owned());
            }
            Ok(Pane::Gone) => return Err("the agent's tmux pane was closed".to_owned()),
            Err(Failure::NoServer(_)) => return Err("the tmux server ended".to_owned()),
            Ok(Pane::Running(_) | Pane::Ended(None)) => remind(place),
            Err(Failure::Refused(words)) => events.unknown(words),
            Err(Failure::Client(error)) => events.unknown(error.message),
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// tmux 3.3a under load now and then misses that a child ended, and leaves it a zombie until it is
/// told of the next one. This tells it once more; when there is nothing to learn, it does nothing.
fn remind(place: &Place) {
    if let Some(tmux) = Pid::from_raw(place.server.cast_signed())
        && let Err(error) = kill_process(tmux, Signal::CHILD)
    {
        tracing::debug!(%error, "the tmux server cannot be signalled");
    }
}
