//! The keeper: one loop over its socket, its programs and their terminals.

mod connection;
pub mod process;
pub mod reading;
pub mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentd_process::terminal::{Reaper, Spawner};
use agentd_process::{Error, ErrorKind, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::Keep;
use crate::protocol::{
    Answer, Frame, LARGEST_PROGRAM, OLDEST, Request, Start, TAKE, TAKEN, VERSION, failure,
};
use crate::ring::unsealed;
use crate::socket::{self, Received};

use connection::Connection;
use reading::{Reading, TERMINAL};
use session::{Session, lock, new_bell};

/// A keeper that nobody needs waits so long for somebody who does.
const GRACE: Duration = Duration::from_secs(5);

/// When it is tried again to send what could not be sent for a lack.
const PAUSE: Duration = Duration::from_millis(20);

/// When it is tried again to give back what a flood has left.
const FLOOD_PAUSE: Duration = Duration::from_millis(200);

const MOST_CONNECTIONS: usize = 64;
const MOST_SESSIONS: usize = 65_536;

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
    /// Sessions that may have memory to give back, once they do not flood, and when it was last tried.
    flooded: BTreeSet<u64>,
    tried_at: Instant,
}

/// A program was started, or not, for a request.
struct Started {
    connection: u64,
    verb: u16,
    number: u64,
    result: Result<Session>,
}

/// What comes of a request.
enum Outcome {
    Answer(Answer, Vec<Arc<OwnedFd>>),
    /// It is answered later.
    Later,
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
            flooded: BTreeSet::new(),
            tried_at: Instant::now(),
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
                false if !self.flooded.is_empty() => Some(FLOOD_PAUSE),
                false if needed => None,
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
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if !self.flooded.is_empty() && self.tried_at.elapsed() >= FLOOD_PAUSE {
            self.tried_at = Instant::now();
            let reading = &self.reading;
            let floods = |index: &u64| reading.get(*index).is_some_and(|one| !one.give_back());
            self.flooded.retain(floods);
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

    /// Answers a request; an error ends the connection.
    fn answer(&mut self, id: u64, bytes: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let frame = Frame::parse(bytes).ok_or(io::ErrorKind::InvalidData)?;
        if !frame.is_request() {
            return Ok(());
        }
        let (verb, number) = (frame.verb, frame.number);
        let outcome = Request::decode(&frame)
            .and_then(|request| self.carry_out(id, request, descriptors, (verb, number)));
        match outcome {
            Ok(Outcome::Later) => Ok(()),
            Ok(Outcome::Answer(answer, descriptors)) => {
                self.send(id, answer.encode(verb, number), descriptors)
            }
            Err(error) => self.send(id, failure(&error, verb, number), Vec::new()),
        }
    }

    fn carry_out(
        &mut self,
        id: u64,
        request: Request,
        descriptors: Vec<OwnedFd>,
        (verb, number): (u16, u64),
    ) -> Result<Outcome> {
        let done = Ok(Outcome::Answer(Answer::Done, Vec::new()));
        let changes = !matches!(
            request,
            Request::Hello { .. } | Request::List { .. } | Request::Exit { .. }
        );
        if changes && self.owner != Some(id) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "only the daemon that has this keeper may ask for that",
            ));
        }
        // What is frozen is for all.
        if changes && !matches!(request, Request::Hangup { .. }) && !self.is_understood {
            let speaks = format!("this keeper speaks the versions {OLDEST} to {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, speaks));
        }
        let descriptor = descriptors.into_iter().next();
        match request {
            Request::Hello {
                oldest,
                version,
                flags,
            } => self.hello(id, oldest, version, flags),
            Request::List { after } => {
                let sessions = lock(&self.reading.sessions);
                let next = sessions.range(after.saturating_add(1)..).next();
                let (record, descriptors) = next.map(|(_, session)| session.record()).unzip();
                let descriptors = descriptors.unwrap_or_default();
                Ok(Outcome::Answer(Answer::List(record), descriptors))
            }
            Request::Exit { index } => {
                let (record, _) = self.session(index)?.record();
                let answer = Answer::Exit {
                    ended: record.ended,
                    closed: record.closed,
                    head: record.head,
                };
                Ok(Outcome::Answer(answer, Vec::new()))
            }
            Request::Hangup { index } => {
                self.hang_up(&self.session(index)?);
                done
            }
            Request::Start {
                keep,
                capacity,
                mut program,
            } => {
                if program.is_empty() {
                    let memory = descriptor.ok_or_else(|| missing("program"))?;
                    program = unsealed(&memory, LARGEST_PROGRAM)?;
                }
                self.start(id, (verb, number), &program, keep, capacity)?;
                Ok(Outcome::Later)
            }
            Request::Open { index } => {
                let (answer, descriptors) = self.session(index)?.open();
                Ok(Outcome::Answer(answer, descriptors))
            }
            Request::Checkpoint {
                index,
                position,
                size,
            } => {
                let snapshot = descriptor.ok_or_else(|| missing("snapshot"))?;
                self.session(index)?
                    .set_checkpoint(position, size, snapshot);
                self.reading.resume();
                self.flooded.insert(index);
                done
            }
            Request::Forget { index } => {
                let session = self.session(index)?;
                if session.ring.exited().is_none() {
                    return Err(Error::new(ErrorKind::Conflict, "the program still runs"));
                }
                self.remove(&session);
                done
            }
        }
    }

    fn hello(&mut self, id: u64, oldest: u32, version: u32, flags: u32) -> Result<Outcome> {
        let mut descriptors = Vec::new();
        if flags & TAKE != 0 && self.owner != Some(id) {
            if self.owner.is_some() {
                return Err(
                    Error::new(ErrorKind::Conflict, "another daemon has this keeper")
                        .hint("one daemon at a time can use a state directory"),
                );
            }
            descriptors.push(self.bells[1].clone());
            self.owner = Some(id);
            self.is_understood = oldest <= VERSION && version >= OLDEST;
            self.reading.owned.store(true, SeqCst);
        }
        let mut state = 0;
        if self.owner == Some(id) {
            state |= TAKE;
        }
        if self.owner.is_some() {
            state |= TAKEN;
        }
        let answer = Answer::Hello {
            version: VERSION,
            oldest: OLDEST,
            pid: std::process::id(),
            flags: state,
            sessions: lock(&self.reading.sessions).len() as u32,
            build: self.parts.build.clone(),
        };
        Ok(Outcome::Answer(answer, descriptors))
    }

    /// Has a program started, in a thread: its file system may not answer.
    fn start(
        &mut self,
        connection: u64,
        (verb, number): (u16, u64),
        program: &[u8],
        keep: Keep,
        capacity: u64,
    ) -> Result<()> {
        if lock(&self.reading.sessions).len() + self.starting >= MOST_SESSIONS {
            return Err(Error::unavailable(format!(
                "this keeper has {MOST_SESSIONS} programs"
            )));
        }
        let start = Start::decode(program);
        let start = start.ok_or_else(|| Error::internal("the program is not complete"))?;
        self.last += 1;
        let index = self.last;
        let reaper = self.parts.reaper.clone();
        let (done, bell) = (self.started.0.clone(), self.bells[0].clone());
        self.spawner.run(Box::new(move || {
            let start = || Session::start(index, start, keep, capacity, &*reaper);
            // Whoever waits for it has to be notified in any case.
            let result = catch_unwind(AssertUnwindSafe(start))
                .unwrap_or_else(|_| Err(Error::internal("the start of a program panicked")));
            let started = Started {
                connection,
                verb,
                number,
                result,
            };
            // The keeper does not end before it has this.
            let _ = done.send(started);
            socket::ring(&bell);
        }))?;
        self.starting += 1;
        Ok(())
    }

    /// From here on the program is listed, whether anybody waits for the answer or not.
    fn finish_start(&mut self, started: Started) {
        self.starting -= 1;
        let (verb, number) = (started.verb, started.number);
        let kept = started.result.and_then(|session| {
            let (_, descriptors) = session.open();
            let answer = Answer::Start {
                index: session.index,
                pid: session.child.pid(),
            };
            self.add(&session.child, PROCESS | session.index, EventFlags::IN)?;
            self.reading.watch(&session)?;
            let session = Arc::new(session);
            lock(&self.reading.sessions).insert(session.index, session.clone());
            if self.parts.listener.is_none() && self.connections.is_empty() {
                self.hang_up(&session);
            }
            Ok((answer.encode(verb, number), descriptors))
        });
        let (frame, descriptors) =
            kept.unwrap_or_else(|error| (failure(&error, verb, number), Vec::new()));
        if self.connections.contains_key(&started.connection) {
            match self.send(started.connection, frame, descriptors) {
                Ok(()) => self.watch(started.connection),
                Err(_) => self.disconnect(started.connection),
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

    fn session(&self, index: u64) -> Result<Arc<Session>> {
        let gone = || Error::gone("this keeper does not have the program");
        self.reading.get(index).ok_or_else(gone)
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

/// What a request lacks whose descriptors did not fit into this process.
fn missing(what: &str) -> Error {
    Error::unavailable(format!("the {what} did not come with the request"))
        .hint(agentd_process::SHORTAGE_HINT)
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
