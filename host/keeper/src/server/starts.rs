//! Starting programs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use agentd_process::{Error, ErrorKind, Result};
use rustix::event::epoll::EventFlags;

use super::session::{Session, lock};
use super::{Keeper, PROCESS};
use crate::Keep;
use crate::protocol::{Answer, Start, failure};
use crate::socket;

const MOST_SESSIONS: usize = 65_536;

/// A program was started, or not, for a request.
pub struct Started {
    connection: u64,
    verb: u16,
    number: u64,
    result: Result<Session>,
}

impl Keeper {
    /// Has a program started, in a thread: its file system may not answer.
    pub(super) fn start(
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
    pub(super) fn finish_start(&mut self, started: Started) {
        self.starting -= 1;
        let (verb, number) = (started.verb, started.number);
        let kept = started.result.map_err(lacking).and_then(|session| {
            let (_, descriptors) = session.open()?;
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
}

/// Says whose lack it is.
fn lacking(mut error: Error) -> Error {
    if error.kind == ErrorKind::Unavailable {
        let message = &error.message;
        error.message = format!("the keeper of the terminals cannot start it: {message}");
    }
    error
}
