//! The keeper: one loop over its socket, its programs and their terminals.

mod connection;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod leftovers;
pub mod process;
pub mod reading;
mod requests;
pub mod session;
mod starts;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentd_process::terminal::{Reaper, Spawner};
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::socket::{self, Received};

use connection::Connection;
use leftovers::Leftovers;
use reading::{Reading, TERMINAL};
use session::{Session, lock, new_bell};
use starts::Started;

/// A keeper that nobody needs waits so long for somebody who does.
const GRACE: Duration = Duration::from_secs(5);

/// When it is tried again to send what could not be sent for a lack.
const PAUSE: Duration = Duration::from_millis(20);

const MOST_CONNECTIONS: usize = 64;

// In `EventData`, beside a number, as `TERMINAL`.
const CONNECTION: u64 = 2 << 56;
const PROCESS: u64 = 3 << 56;
const OTHER: u64 = 4 << 56;
const KIND: u64 = 0xff << 56;

const LISTENER: u64 = OTHER;
const STARTED: u64 = OTHER | 1;
const ROOM: u64 = OTHER | 2;
const ORPHANS: u64 = OTHER | 3;

/// What a keeper is made of.
pub struct Parts {
    /// Where daemons connect, if another one may.
    pub listener: Option<OwnedFd>,
    /// A connection that exists.
    pub connection: Option<OwnedFd>,
    pub reaper: Arc<dyn Reaper>,
    /// What is watched for the deaths of orphans, and called then.
    pub orphans: Option<(OwnedFd, Reap)>,
    pub build: String,
}

/// Reaps orphans whose deaths were read from a descriptor.
type Reap = Box<dyn Fn(&OwnedFd) + Send>;

pub struct Keeper {
    parts: Parts,
    reading: Arc<Reading>,
    connections: BTreeMap<u64, Connection>,
    /// The connection of the daemon that has this keeper.
    owner: Option<u64>,
    /// Whether that one speaks a version that this keeper does.
    is_understood: bool,
    /// The last number of a connection or session.
    last: u64,
    spawner: Spawner,
    starting: usize,
    started: (Sender<Started>, Receiver<Started>),
    /// Rung by the threads that start programs, and by the daemon that makes room.
    bells: [Arc<OwnedFd>; 2],
    buffer: Vec<u8>,
    /// No descriptor is free for who wants to connect.
    is_short: bool,
    leftovers: Leftovers,
}

impl Keeper {
    pub fn new(parts: Parts) -> io::Result<Self> {
        // Nobody else can follow its sessions then.
        let is_here = parts.listener.is_none();
        let keeper = Keeper {
            parts,
            reading: Reading::new(is_here)?,
            connections: BTreeMap::new(),
            owner: None,
            is_understood: false,
            last: 0,
            spawner: Spawner::default(),
            starting: 0,
            started: channel(),
            bells: [Arc::new(new_bell()?), Arc::new(new_bell()?)],
            buffer: socket::buffer(),
            is_short: false,
            leftovers: Leftovers::default(),
        };
        // A bell is rung anew each time, and never reset.
        keeper.add(&keeper.bells[0], STARTED, EventFlags::IN | EventFlags::ET)?;
        keeper.add(&keeper.bells[1], ROOM, EventFlags::IN | EventFlags::ET)?;
        if let Some(listener) = &keeper.parts.listener {
            keeper.add(listener, LISTENER, EventFlags::IN)?;
        }
        if let Some((deaths, _)) = &keeper.parts.orphans {
            keeper.add(deaths, ORPHANS, EventFlags::IN)?;
        }
        Ok(keeper)
    }

    /// Keeps until there is nothing to keep and nobody who could ask for it.
    pub fn run(mut self) -> io::Result<()> {
        let result = self.turns();
        self.reading.stop();
        result
    }

    fn turns(&mut self) -> io::Result<()> {
        if let Some(connection) = self.parts.connection.take() {
            self.connect(connection);
        }
        let mut idle_since = Instant::now();
        let mut events = Vec::<Event>::with_capacity(64);
        loop {
            let needed = self.is_needed();
            if needed {
                idle_since = Instant::now();
            } else if self.parts.listener.is_none() || idle_since.elapsed() >= GRACE {
                return Ok(());
            }
            let is_stuck = self.is_short || self.connections.values().any(Connection::is_stuck);
            let pause = match is_stuck {
                true => Some(PAUSE),
                false if needed => self.leftovers.pause(),
                false => Some(GRACE.saturating_sub(idle_since.elapsed()) + PAUSE),
            };
            let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
            events.clear();
            let into = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.reading.quiet, into, pause.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let data = event.data.u64();
                match data & KIND {
                    TERMINAL => {
                        if let Some(session) = self.reading.get(data & !KIND) {
                            self.reading.read_quiet(&session);
                        }
                    }
                    PROCESS => self.process_ended(data & !KIND),
                    CONNECTION => self.serve(data & !KIND),
                    _ => self.other(data),
                }
            }
            self.send_stuck();
            self.leftovers.give_back(&self.reading);
        }
    }

    fn is_needed(&self) -> bool {
        let has_sessions = !lock(&self.reading.sessions).is_empty();
        self.owner.is_some() || self.starting > 0 || has_sessions
            // The only one that can ever be.
            || (self.parts.listener.is_none() && !self.connections.is_empty())
    }

    fn other(&mut self, data: u64) {
        match data {
            LISTENER => self.accept(),
            STARTED => {
                while let Ok(started) = self.started.1.try_recv() {
                    self.finish_start(started);
                }
            }
            ROOM => self.reading.resume(),
            _ => {
                if let Some((deaths, reap)) = &self.parts.orphans {
                    reap(deaths);
                }
            }
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.parts.listener else {
            return;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = accept_with(listener, flags);
        // Without a descriptor for it, whoever connects waits.
        self.is_short = matches!(accepted, Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM));
        let waits_for = match self.is_short {
            true => EventFlags::empty(),
            false => EventFlags::IN,
        };
        let data = EventData::new_u64(LISTENER);
        let _ = epoll::modify(&self.reading.quiet, listener, data, waits_for);
        if let Ok(socket) = accepted
            && self.connections.len() < MOST_CONNECTIONS
            && socket::is_own(&socket)
        {
            self.connect(socket);
        }
    }

    fn connect(&mut self, socket: OwnedFd) {
        self.last += 1;
        if self
            .add(&socket, CONNECTION | self.last, EventFlags::IN)
            .is_ok()
        {
            self.connections.insert(self.last, Connection::new(socket));
        }
    }

    /// Forgets a connection that has ended. Nothing else ends with it, unless there can be no other.
    fn disconnect(&mut self, id: u64) {
        self.connections.remove(&id);
        if self.owner == Some(id) {
            self.owner = None;
            self.reading.owned.store(false, SeqCst);
            self.reading.resume();
        }
        if self.parts.listener.is_none() {
            let all: Vec<_> = lock(&self.reading.sessions).values().cloned().collect();
            all.iter().for_each(|session| self.hang_up(session));
        }
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.flush().is_err() {
            return self.disconnect(id);
        }
        self.watch(id);
        let mut buffer = std::mem::take(&mut self.buffer);
        let ends = self.receive(id, &mut buffer);
        self.buffer = buffer;
        match ends {
            true => self.disconnect(id),
            false => self.watch(id),
        }
    }

    /// Serves requests while there are some and their answers are taken: whether it has ended.
    fn receive(&mut self, id: u64, buffer: &mut [u8]) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return false;
            };
            if connection.is_behind() {
                return false;
            }
            match socket::receive(&connection.socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Ok(Received::Frame(length, descriptors)) => {
                    if self.answer(id, &buffer[..length], descriptors).is_err() {
                        return true;
                    }
                }
                Err(_) | Ok(Received::End | Received::TooLong) => return true,
            }
        }
    }

    fn process_ended(&mut self, index: u64) {
        if let Some(session) = self.reading.get(index) {
            let _ = epoll::delete(&self.reading.quiet, &session.child);
            session.exited();
            if session.unwanted.load(SeqCst) {
                self.remove(&session);
            }
        }
    }

    /// Ends a program by force, and forgets it then.
    fn hang_up(&self, session: &Arc<Session>) {
        session.unwanted.store(true, SeqCst);
        match session.ring.exited() {
            Some(_) => self.remove(session),
            None => session.child.kill(),
        }
    }

    /// Closes what there is of it, and reaps it. It has ended.
    fn remove(&self, session: &Arc<Session>) {
        self.reading.unwatch(session);
        lock(&self.reading.sessions).remove(&session.index);
    }

    fn send(&mut self, id: u64, frame: Vec<u8>, descriptors: Vec<Arc<OwnedFd>>) -> io::Result<()> {
        match self.connections.get_mut(&id) {
            Some(connection) => connection.send(frame, descriptors),
            None => Ok(()),
        }
    }

    /// Tries again what was not possible for a lack.
    fn send_stuck(&mut self) {
        if self.is_short {
            self.accept();
        }
        let stuck = |(id, connection): (&u64, &Connection)| connection.is_stuck().then_some(*id);
        let stuck: Vec<u64> = self.connections.iter().filter_map(stuck).collect();
        stuck.into_iter().for_each(|id| self.serve(id));
    }

    /// Waits for requests, or for room for answers.
    fn watch(&self, id: u64) {
        if let Some(connection) = self.connections.get(&id) {
            let flags = connection.waits_for();
            let data = EventData::new_u64(CONNECTION | id);
            let _ = epoll::modify(&self.reading.quiet, &connection.socket, data, flags);
        }
    }

    fn add(&self, source: impl AsFd, data: u64, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(data);
        Ok(epoll::add(&self.reading.quiet, source, data, flags)?)
    }
}

/// Runs a keeper in a thread of this process, for one connection only. Whoever follows its sessions
/// reads those that are quiet.
pub fn in_thread(
    reaper: Arc<dyn Reaper>,
    connection: OwnedFd,
    build: String,
) -> io::Result<Arc<Reading>> {
    let keeper = Keeper::new(Parts {
        listener: None,
        connection: Some(connection),
        reaper,
        orphans: None,
        build,
    })?;
    let reading = keeper.reading.clone();
    // Shared, as a thread that cannot be made takes what it should have run with it.
    let keeper = Mutex::new(Some(keeper));
    let run = move || {
        if let Some(keeper) = lock(&keeper).take()
            && let Err(error) = keeper.run()
        {
            tracing::error!(%error, "the terminals of this process have ended");
        }
    };
    let builder = std::thread::Builder::new().name("agentd-keeper".to_owned());
    builder.spawn(run)?;
    Ok(reading)
}
