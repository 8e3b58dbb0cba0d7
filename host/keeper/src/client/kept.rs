use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentd_process::process_tree::{ProcessTree, Stat};
use agentd_process::terminal::{Sink, Size};
use agentd_process::{Error, ErrorKind, Result, SHORTAGE_HINT};

use super::link::{Following, Link};
use super::running::Running;
use super::{Listed, unexpected};
use crate::protocol::{Answer, Request};
use crate::ring::{Ring, unsealed};

/// More than any snapshot has.
const LARGEST_SNAPSHOT: usize = 256 * 1024 * 1024;

/// The state of a terminal at a position of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes of output before it.
    pub position: u64,
    /// The size of the terminal then.
    pub size: Size,
    /// What restores it.
    pub snapshot: Vec<u8>,
}

/// A program in a keeper with its terminal, which nobody follows yet. It is kept on when this is
/// dropped.
pub struct Kept {
    /// What the keeper says about it.
    pub listed: Listed,
    /// The present size of its terminal.
    pub size: Size,
    /// The newest one.
    pub checkpoint: Option<Checkpoint>,
    pub(super) link: Arc<Link>,
    pub(super) following: Arc<Following>,
    pub(super) ring: Arc<Ring>,
    pub(super) terminal: OwnedFd,
    pub(super) bell: OwnedFd,
}

/// What comes with the answer to `OPEN` or `START`.
pub struct Parts {
    ring: Ring,
    terminal: OwnedFd,
    bell: OwnedFd,
    checkpoint: Option<Checkpoint>,
}

impl Parts {
    pub fn new(descriptors: Vec<OwnedFd>, checkpoint: Option<(u64, Size)>) -> Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            descriptors.next().ok_or_else(|| {
                let lack = "no descriptor is free for a terminal";
                Error::unavailable(lack).hint(SHORTAGE_HINT)
            })
        };
        let (memory, terminal, bell) = (next()?, next()?, next()?);
        let checkpoint = match checkpoint {
            None => None,
            Some((position, size)) => Some(Checkpoint {
                position,
                size,
                snapshot: unsealed(&next()?, LARGEST_SNAPSHOT)?,
            }),
        };
        Ok(Parts {
            // The mapping is all that is needed of it.
            ring: Ring::map(&memory)?,
            terminal,
            bell,
            checkpoint,
        })
    }
}

impl Kept {
    pub(super) async fn open(link: Arc<Link>, listed: Listed) -> Result<Kept> {
        let index = listed.index;
        let following = link.follow(index).ok_or_else(|| {
            let message = format!("the program {} is followed already", listed.pid);
            Error::new(ErrorKind::Conflict, message)
        })?;
        let (answer, descriptors) = link.ask(Request::Open { index }, None).await?;
        match answer {
            Answer::Open(checkpoint) => {
                let parts = Parts::new(descriptors, checkpoint)?;
                Kept::new(link, following, listed, parts)
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn new(
        link: Arc<Link>,
        following: Arc<Following>,
        listed: Listed,
        parts: Parts,
    ) -> Result<Kept> {
        let size = rustix::termios::tcgetwinsize(&parts.terminal).map_err(io::Error::from)?;
        Ok(Kept {
            listed,
            size: Size {
                cols: size.ws_col,
                rows: size.ws_row,
            },
            checkpoint: parts.checkpoint,
            link,
            following,
            ring: Arc::new(parts.ring),
            terminal: parts.terminal,
            bell: parts.bell,
        })
    }

    /// The oldest position from which the ring has output.
    pub fn first(&self) -> u64 {
        self.ring.first()
    }

    /// How much it has printed so far.
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// What was noted by [`Running::note_answered`].
    pub fn answered(&self) -> u64 {
        self.ring.answered()
    }

    /// Copies output out of the ring: what it still has of `from..to`, with the position of its first
    /// byte.
    pub fn read_back(&self, from: u64, to: u64) -> (u64, Vec<u8>) {
        self.ring.copy(from, to)
    }

    /// Hands over the output from `from` on, or from [`first`](Kept::first) where that is later, then
    /// the end. With `checkpoints` the ring holds everything after the newest of them, so without a new
    /// one the program waits in the end; otherwise only what was not handed over.
    pub fn follow(self, from: u64, checkpoints: bool, sink: Arc<dyn Sink>) -> Result<Running> {
        Running::follow(self, from, checkpoints, sink)
    }

    /// Its processes. It is not reaped while the keeper lives, so that nobody else has its number;
    /// after that the time counts.
    pub(super) fn tree(&self) -> Result<ProcessTree> {
        let (id, pid) = (&self.listed.session, self.listed.pid);
        Ok(match Stat::read(pid.cast_signed())? {
            Some(stat) => ProcessTree::of(id, pid, stat.started),
            None => ProcessTree::marked(id),
        })
    }
}
