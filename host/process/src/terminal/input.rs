use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, kill_process_group};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp};
use tokio::io::Interest;
use tokio::sync::{Notify, Semaphore};

use crate::descriptor::watch;
use crate::{Error, Result};

/// Input that the program has not read yet, at most, in bytes.
const CAPACITY: usize = 1024 * 1024;

/// Messages on their way to a program that may not be reading. A message is written whole before
/// the next one, in a write of its own.
pub struct Input {
    waiting: Mutex<Waiting>,
    room: Semaphore,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    /// How much of the first message the program has already got.
    written: usize,
}

impl Default for Input {
    fn default() -> Self {
        Input {
            waiting: Mutex::default(),
            room: Semaphore::new(CAPACITY),
            arrived: Notify::new(),
        }
    }
}

impl Input {
    /// Waits for room and queues the message. An interrupt character (Ctrl-C, Ctrl-\, Ctrl-Z) does
    /// not queue up behind what the program does not read: it takes effect at once and, as in any
    /// terminal, discards what was typed before.
    pub async fn push(&self, master: &OwnedFd, message: Vec<u8>) -> Result<()> {
        if let [key] = message[..]
            && !self.lock().messages.is_empty()
            && let Some(signal) = signal_of(master, key)
        {
            self.clear();
            let group = tcgetpgrp(master).map_err(io::Error::from)?;
            return Ok(kill_process_group(group, signal).map_err(io::Error::from)?);
        }
        for part in message.chunks(CAPACITY) {
            // A chunk is at most `CAPACITY`, which fits into a `u32`.
            let room = self
                .room
                .acquire_many(u32::try_from(part.len()).unwrap_or(u32::MAX));
            room.await
                .map_err(|_| Error::gone("the session has ended"))?
                .forget();
            self.lock().messages.push_back(part.to_vec());
            // A program that reads has it now; what does not fit is for `drain`. A failure is too:
            // it sees the same one.
            let _ = self.write_some(master);
            if !self.lock().messages.is_empty() {
                self.arrived.notify_one();
            }
        }
        Ok(())
    }

    /// Writes what is queued, until the terminal fails or no process has it open any more.
    pub async fn drain(&self, master: &Arc<OwnedFd>) -> io::Result<()> {
        loop {
            self.arrived.notified().await;
            self.drain_waiting(master).await?;
        }
    }

    async fn drain_waiting(&self, master: &Arc<OwnedFd>) -> io::Result<()> {
        // Only meanwhile: each key that a program reads would wake the runtime.
        let master = watch(master.clone(), Interest::WRITABLE)?;
        while !self.lock().messages.is_empty() {
            let mut ready = master.writable().await?;
            // Such a terminal counts as writable for ever and still takes nothing.
            if ready.ready().is_write_closed() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let step = ready.try_io(|master| self.write_some(master.get_ref()));
            if let Ok(result) = step {
                result?;
            }
        }
        Ok(())
    }

    /// Nothing more is accepted.
    pub fn close(&self) {
        self.room.close();
        self.clear();
    }

    /// The lock is held over the (non-blocking) write, so that nothing that was cleared is written
    /// afterwards.
    fn write_some(&self, master: &OwnedFd) -> io::Result<()> {
        let mut waiting = self.lock();
        let written = waiting.written;
        let Some(message) = waiting.messages.front() else {
            return Ok(());
        };
        let length = message.len();
        let count = rustix::io::write(master, &message[written..])?;
        self.room.add_permits(count);
        waiting.written += count;
        if waiting.written == length {
            waiting.messages.pop_front();
            waiting.written = 0;
        }
        Ok(())
    }

    fn clear(&self) {
        let mut waiting = self.lock();
        let bytes: usize = waiting.messages.iter().map(Vec::len).sum();
        let left = bytes - waiting.written;
        *waiting = Waiting::default();
        if !self.room.is_closed() {
            self.room.add_permits(left);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signal that the terminal makes of `key` in its present mode.
fn signal_of(master: &OwnedFd, key: u8) -> Option<Signal> {
    let modes = tcgetattr(master).ok()?;
    if !modes.local_modes.contains(LocalModes::ISIG) {
        return None;
    }
    [
        (SpecialCodeIndex::VINTR, Signal::INT),
        (SpecialCodeIndex::VQUIT, Signal::QUIT),
        (SpecialCodeIndex::VSUSP, Signal::TSTP),
    ]
    .into_iter()
    .find(|(index, _)| modes.special_codes[*index] == key)
    .map(|(_, signal)| signal)
}
