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
use crate::protocol::{Answer, Record, Start};
use crate::ring::{Filled, Ring};
use crate::socket::ring;

/// A program with its terminal and the ring that this is read into.
pub struct Session {
    pub index: u64,
    name: String,
    label: String,
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

struct Checkpoint {
    position: u64,
    size: Size,
    snapshot: Arc<OwnedFd>,
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
        let mut child = Child::spawn(reaper, &start.launch)?;
        let terminal = child.take_master();
        let terminal = terminal
            .ok_or_else(|| agentd_process::Error::internal("the program has no terminal"))?;
        Ok(Session {
            index,
            name: start.session,
            label: start.label,
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
        self.notify();
    }

    /// Whether it waits for room that is there now.
    pub fn has_room(&self, owned: bool) -> bool {
        self.ring.room() > 0 || (!owned && self.keep == Keep::Drop)
    }

    /// Takes the state at a position. An older one is replaced by a newer one only.
    pub fn set_checkpoint(&self, position: u64, size: Size, snapshot: OwnedFd) {
        let mut checkpoint = lock(&self.checkpoint);
        let position = position.min(self.ring.head());
        if checkpoint
            .as_ref()
            .is_none_or(|old| old.position <= position)
        {
            *checkpoint = Some(Checkpoint {
                position,
                size,
                snapshot: Arc::new(snapshot),
            });
            self.ring.take(position);
        }
    }

    /// What a daemon needs for following it. From here on nothing is overwritten that was not taken,
    /// if the keeper is owned.
    pub fn open(&self) -> (Answer, Vec<Arc<OwnedFd>>) {
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
                descriptors.push(checkpoint.snapshot.clone());
                Some((checkpoint.position, checkpoint.size))
            }
        };
        (Answer::Open(position), descriptors)
    }

    pub fn record(&self) -> Record {
        Record {
            index: self.index,
            pid: self.child.pid(),
            keep: self.keep,
            ended: self.ring.exited(),
            closed: self.ring.is_closed(),
            first: self.ring.first(),
            head: self.ring.head(),
            session: self.name.clone(),
            label: self.label.clone(),
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
