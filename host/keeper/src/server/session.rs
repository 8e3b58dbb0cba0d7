use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use agentd_process::Result;
use agentd_process::terminal::{Child, Reaper, Size};
use rustix::event::{EventfdFlags, eventfd};

use crate::Keep;
use crate::flood::{CHUNK, PAUSE, Recent, TURN, is_readable_within};
use crate::protocol::{Answer, LARGEST_INLINE, Record, Start};
use crate::ring::{Filled, Ring, sealed, unsealed};
use crate::socket::ring;

/// So much output before a checkpoint stays when the memory of a flood is given back, in bytes.
const KEPT_BEFORE: u64 = 128 * 1024;

/// A program with its terminal and the ring that this is read into.
pub struct Session {
    pub index: u64,
    name: String,
    label: Label,
    keep: Keep,
    pub child: Child,
    pub terminal: Arc<OwnedFd>,
    pub ring: Ring,
    memory: Arc<OwnedFd>,
    /// Rung when there is output.
    pub bell: Arc<OwnedFd>,
    checkpoint: Mutex<Option<Checkpoint>>,
    /// Held while the terminal is read, so never by two threads.
    reading: Mutex<Recent>,
    /// Whether it is read by whoever reads quiet ones.
    pub quiet: AtomicBool,
    /// Whether it is read with the floods, and whether it will never be read again.
    pub floods: AtomicBool,
    pub gone: AtomicBool,
    /// To be removed when it has ended.
    pub unwanted: AtomicBool,
}

/// As it fits into a frame.
enum Label {
    Inline(String),
    Apart(Arc<OwnedFd>, u32),
}

impl Label {
    fn new(label: String) -> io::Result<Self> {
        Ok(match u32::try_from(label.len()) {
            Ok(length) if label.len() > LARGEST_INLINE => {
                Label::Apart(Arc::new(sealed("agentd-label", label.as_bytes())?), length)
            }
            _ => Label::Inline(label),
        })
    }
}

struct Checkpoint {
    position: u64,
    size: Size,
    snapshot: Snapshot,
}

/// A snapshot of at most so many bytes is kept here: memory of its own would take a page and an inode.
const SMALL: usize = 2048;

/// What a checkpoint holds, in sealed memory again whenever it is asked for.
enum Snapshot {
    Small(Box<[u8]>),
    Apart(Arc<OwnedFd>),
}

impl Snapshot {
    fn new(memory: OwnedFd) -> Self {
        match unsealed(&memory, SMALL) {
            Ok(bytes) => Snapshot::Small(bytes.into()),
            Err(_) => Snapshot::Apart(Arc::new(memory)),
        }
    }

    fn memory(&self) -> io::Result<Arc<OwnedFd>> {
        match self {
            Snapshot::Small(bytes) => Ok(Arc::new(sealed("agentd-snapshot", bytes)?)),
            Snapshot::Apart(memory) => Ok(memory.clone()),
        }
    }
}

/// What came of a turn of reading.
pub enum Turn {
    /// There may be more.
    More {
        /// It prints so much that it is read in other threads.
        flood: bool,
        /// There was no more a moment ago.
        drained: bool,
    },
    /// There is no room in the ring.
    Full,
    /// There will be no more.
    Closed,
}

impl Session {
    /// Starts a program; in a thread that lasts, see [`agentd_process::terminal::Spawner`].
    pub fn start(
        index: u64,
        start: Start,
        keep: Keep,
        capacity: u64,
        reaper: &dyn Reaper,
    ) -> Result<Session> {
        let (memory, ring) = Ring::create(usize::try_from(capacity).unwrap_or(usize::MAX))?;
        let bell = new_bell()?;
        let label = Label::new(start.label)?;
        let mut child = Child::spawn(reaper, &start.launch)?;
        let terminal = child.take_master();
        let terminal = terminal
            .ok_or_else(|| agentd_process::Error::internal("the program has no terminal"))?;
        Ok(Session {
            index,
            name: start.session,
            label,
            keep,
            child,
            terminal: Arc::new(terminal),
            ring,
            memory: Arc::new(memory),
            bell: Arc::new(bell),
            checkpoint: Mutex::default(),
            reading: Mutex::new(Recent::new()),
            quiet: AtomicBool::new(false),
            floods: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
        })
    }

    /// Reads what there is, up to a limit; what `floods` is also waited for. `owned` is whether a
    /// daemon is there that takes it.
    pub fn turn(&self, floods: bool, owned: bool) -> Turn {
        let mut recent = lock(&self.reading);
        let end = floods.then(|| Instant::now() + TURN);
        let goes_on = |total: usize| match end {
            Some(end) => Instant::now() < end,
            None => total < CHUNK,
        };
        let overwrites = !owned && self.keep == Keep::Drop;
        let (mut total, mut drained) = (0, false);
        while goes_on(total) {
            match self.ring.fill(&*self.terminal, CHUNK, overwrites) {
                Filled::Some(count) => {
                    total += count;
                    self.notify();
                }
                Filled::Nothing if floods && is_readable_within(&*self.terminal, PAUSE) => {}
                Filled::Nothing => {
                    drained = true;
                    break;
                }
                Filled::Full => {
                    recent.is_flood(total);
                    return Turn::Full;
                }
                Filled::Closed => {
                    self.ring.set_closed();
                    self.notify();
                    return Turn::Closed;
                }
            }
        }
        Turn::More {
            flood: recent.is_flood(total),
            drained,
        }
    }

    /// Notes the end of the process.
    pub fn exited(&self) {
        self.ring.set_exited(&self.child.status());
        self.child.ended();
        self.notify();
    }

    /// Whether it waits for room that is there now.
    pub fn has_room(&self, owned: bool) -> bool {
        self.ring.room() > 0 || (!owned && self.keep == Keep::Drop)
    }

    /// Takes the state at a position. An older one is replaced by a newer one only.
    pub fn set_checkpoint(&self, position: u64, size: Size, snapshot: OwnedFd) {
        let snapshot = Snapshot::new(snapshot);
        let mut checkpoint = lock(&self.checkpoint);
        let position = position.min(self.ring.head());
        if checkpoint
            .as_ref()
            .is_none_or(|old| old.position <= position)
        {
            *checkpoint = Some(Checkpoint {
                position,
                size,
                snapshot,
            });
            self.ring.take(position);
        }
    }

    /// Gives back what a flood has left that a checkpoint has, unless it still floods: whether that is done.
    pub fn give_back(&self) -> bool {
        let mut recent = lock(&self.reading);
        if recent.is_flood(0) {
            return false;
        }
        // It is tried again after the next checkpoint.
        let _ = self.ring.give_back(&*self.memory, KEPT_BEFORE);
        true
    }

    /// What a daemon needs for following it. From here on nothing is overwritten that was not taken,
    /// if the keeper is owned.
    pub fn open(&self) -> io::Result<(Answer, Vec<Arc<OwnedFd>>)> {
        // A turn that began before there was an owner has ended then.
        drop(lock(&self.reading));
        let mut descriptors = vec![
            self.memory.clone(),
            self.terminal.clone(),
            self.bell.clone(),
        ];
        let checkpoint = lock(&self.checkpoint);
        let position = match &*checkpoint {
            None => None,
            Some(checkpoint) => {
                descriptors.push(checkpoint.snapshot.memory()?);
                Some((checkpoint.position, checkpoint.size))
            }
        };
        Ok((Answer::Open(position), descriptors))
    }

    /// What is listed, with what does not fit into the frame.
    pub fn record(&self) -> (Record, Vec<Arc<OwnedFd>>) {
        let (label, label_apart, descriptors) = match &self.label {
            Label::Inline(label) => (label.clone(), None, Vec::new()),
            Label::Apart(memory, length) => (String::new(), Some(*length), vec![memory.clone()]),
        };
        let record = Record {
            index: self.index,
            pid: self.child.pid(),
            keep: self.keep,
            ended: self.ring.exited(),
            closed: self.ring.is_closed(),
            first: self.ring.first(),
            head: self.ring.head(),
            session: self.name.clone(),
            label,
            label_apart,
        };
        (record, descriptors)
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Answer {
        Answer::Exit {
            ended: self.ring.exited(),
            closed: self.ring.is_closed(),
            head: self.ring.head(),
        }
    }

    fn notify(&self) {
        if self.ring.rouses() {
            ring(&self.bell);
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

/// Something to wake another thread or process with.
pub fn new_bell() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
