//! What a keeper does for those who ask.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use agentd_process::{Error, ErrorKind, Result};

use super::Keeper;
use super::session::{Session, lock};
use crate::protocol::{
    Answer, Frame, LARGEST_PROGRAM, OLDEST, Request, TAKE, TAKEN, VERSION, failure,
};
use crate::ring::unsealed;

/// What comes of a request.
enum Outcome {
    Answer(Answer, Vec<Arc<OwnedFd>>),
    /// It is answered later.
    Later,
}

impl Keeper {
    /// Answers a request; an error ends the connection.
    pub(super) fn answer(
        &mut self,
        id: u64,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
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
            Request::Exit { index } => Ok(Outcome::Answer(self.session(index)?.exit(), Vec::new())),
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
                let (answer, descriptors) = self.session(index)?.open()?;
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
                self.leftovers.add(index);
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

    fn session(&self, index: u64) -> Result<Arc<Session>> {
        let gone = || Error::gone("this keeper does not have the program");
        self.reading.get(index).ok_or_else(gone)
    }
}

/// What a request lacks whose descriptors did not fit into this process.
fn missing(what: &str) -> Error {
    Error::unavailable(format!("the {what} did not come with the request"))
        .hint(agentd_process::SHORTAGE_HINT)
}
