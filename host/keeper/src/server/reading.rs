//! Reading the terminals of all sessions.
//!
//! One thread reads those that are quiet, the keeper's own; where the keeper is a thread of the daemon,
//! whoever hands the output over reads it, see `client/here.rs`. A program that floods is read in other
//! threads, on half of the processors: what is busy all the time waits for its next share of a
//! processor like any other busy program, and the echo of somebody's key would have to wait with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::session::{Session, Turn, lock, new_bell};
use crate::socket::ring;

/// What the threads share.
pub struct Reading {
    /// The keeper's own: sessions, and whatever else it waits for.
    pub quiet: OwnedFd,
    /// Sessions that flood.
    floods: OwnedFd,
    /// Whether quiet sessions are read by those who follow them, in this process.
    is_here: bool,
    pub sessions: Mutex<BTreeMap<u64, Arc<Session>>>,
    /// Those that wait for room and are watched by nobody.
    full: Mutex<BTreeSet<u64>>,
    /// Whether a daemon is there that takes what is read.
    pub owned: AtomicBool,
    flood_threads: Mutex<usize>,
    /// Ends the threads for floods.
    end: OwnedFd,
}

/// In `EventData`, beside the number of a session.
pub const TERMINAL: u64 = 1 << 56;
const END: u64 = 0;

/// One thread at a time has a turn for a session.
const ONCE: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// Where a session is watched.
enum Place {
    Quiet,
    Floods,
    /// By nobody, until there is room.
    Full,
    /// By nobody, for ever.
    Nowhere,
}

impl Reading {
    pub fn new(is_here: bool) -> io::Result<Arc<Self>> {
        let reading = Reading {
            quiet: epoll::create(CreateFlags::CLOEXEC)?,
            floods: epoll::create(CreateFlags::CLOEXEC)?,
            is_here,
            sessions: Mutex::default(),
            full: Mutex::default(),
            owned: AtomicBool::new(false),
            flood_threads: Mutex::new(0),
            end: new_bell()?,
        };
        let data = EventData::new_u64(END);
        epoll::add(&reading.floods, &reading.end, data, EventFlags::IN)?;
        Ok(Arc::new(reading))
    }

    /// The session of this number.
    pub fn get(&self, index: u64) -> Option<Arc<Session>> {
        lock(&self.sessions).get(&index).cloned()
    }

    /// Begins to read for a session.
    pub fn watch(&self, session: &Session) -> io::Result<()> {
        self.put(session, Place::Quiet)
    }

    /// Never reads for it again.
    pub fn unwatch(&self, session: &Session) {
        // Removing fails only where it is not watched.
        let _ = self.put(session, Place::Nowhere);
    }

    /// Reads for a quiet session: whether there was no more a moment ago.
    pub fn read_quiet(self: &Arc<Self>, session: &Session) -> bool {
        let turn = session.turn(false, self.owned.load(SeqCst));
        match turn {
            Turn::More { flood: true, .. } if self.has_flood_threads() => {
                if self.put(session, Place::Floods).is_err() {
                    let _ = self.put(session, Place::Quiet);
                }
            }
            Turn::More { .. } => {}
            Turn::Full => self.wait_for_room(session),
            Turn::Closed => self.unwatch(session),
        }
        matches!(turn, Turn::More { drained: true, .. })
    }

    /// Has the keeper's own thread read for a session that nobody else can read for.
    pub fn read_there(&self, session: &Session) -> io::Result<()> {
        self.add_quiet(session)?;
        session.quiet.store(false, SeqCst);
        Ok(())
    }

    /// Reads again for all that waited for room and have it now.
    pub fn resume(&self) {
        let full: Vec<u64> = lock(&self.full).iter().copied().collect();
        for index in full {
            match self.get(index) {
                Some(session) if !session.has_room(self.owned.load(SeqCst)) => {
                    // Wants to be notified of the next room, too.
                    if !session.ring.await_room() {
                        self.resume_one(&session);
                    }
                }
                Some(session) => self.resume_one(&session),
                None => drop(lock(&self.full).remove(&index)),
            }
        }
    }

    /// Ends the other threads.
    pub fn stop(&self) {
        ring(&self.end);
    }

    fn resume_one(&self, session: &Session) {
        let place = match session.floods.load(SeqCst) {
            true => Place::Floods,
            false => Place::Quiet,
        };
        // Only a lack of memory prevents it, and the next room is another try.
        if self.put(session, place).is_err() {
            let _ = self.put(session, Place::Full);
        }
    }

    fn wait_for_room(&self, session: &Session) {
        let _ = self.put(session, Place::Full);
        let owned = self.owned.load(SeqCst);
        if !session.ring.await_room() || session.has_room(owned) {
            self.resume_one(session);
        }
    }

    /// Has it watched in one place only, one move after the other. What is watched nowhere stays there:
    /// the daemon has the same terminal open, so a closed descriptor would still be watched.
    fn put(&self, session: &Session, place: Place) -> io::Result<()> {
        let mut full = lock(&self.full);
        if session.gone.load(SeqCst) {
            return Ok(());
        }
        let _ = epoll::delete(&self.quiet, session);
        let _ = epoll::delete(&self.floods, session);
        full.remove(&session.index);
        let is_quiet = matches!(place, Place::Quiet);
        session.quiet.store(is_quiet, SeqCst);
        match place {
            Place::Quiet => {
                session.floods.store(false, SeqCst);
                match self.is_here {
                    // Whoever follows it looks at it.
                    true => ring(&session.bell),
                    false => self.add_quiet(session)?,
                }
            }
            Place::Floods => {
                session.floods.store(true, SeqCst);
                let data = EventData::new_u64(session.index);
                epoll::add(&self.floods, session, data, ONCE)?;
            }
            Place::Full => drop(full.insert(session.index)),
            Place::Nowhere => session.gone.store(true, SeqCst),
        }
        Ok(())
    }

    fn add_quiet(&self, session: &Session) -> io::Result<()> {
        let data = EventData::new_u64(TERMINAL | session.index);
        Ok(epoll::add(&self.quiet, session, data, EventFlags::IN)?)
    }

    /// Starts them when they are first needed. Without any, everything is read by one thread.
    fn has_flood_threads(self: &Arc<Self>) -> bool {
        let mut threads = lock(&self.flood_threads);
        if *threads == 0 {
            let processors = thread::available_parallelism().map_or(1, NonZero::get);
            for _ in 0..(processors / 2).max(1) {
                let reading = self.clone();
                let builder = thread::Builder::new().name("keeper-flood".to_owned());
                if builder.spawn(move || reading.read_floods()).is_ok() {
                    *threads += 1;
                }
            }
        }
        *threads > 0
    }

    fn read_floods(self: Arc<Self>) {
        loop {
            let mut events = Vec::<Event>::with_capacity(1);
            match epoll::wait(
                &self.floods,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            for event in events {
                match event.data.u64() {
                    END => return,
                    index => self.read_flood(index),
                }
            }
        }
    }

    fn read_flood(&self, index: u64) {
        let Some(session) = self.get(index) else {
            return;
        };
        match session.turn(true, self.owned.load(SeqCst)) {
            Turn::More { flood: true, .. } => {
                let data = EventData::new_u64(index);
                // It fails where it was removed meanwhile.
                let _ = epoll::modify(&self.floods, &*session, data, ONCE);
            }
            Turn::More { flood: false, .. } => {
                if self.put(&session, Place::Quiet).is_err() {
                    let _ = self.put(&session, Place::Floods);
                }
            }
            Turn::Full => self.wait_for_room(&session),
            Turn::Closed => self.unwatch(&session),
        }
    }
}
