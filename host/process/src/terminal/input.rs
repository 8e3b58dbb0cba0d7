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
        if (1..=CAPACITY).contains(&message.len()) {
            return self.queue(master, message).await;
        }
        for part in message.chunks(CAPACITY) {
            self.queue(master, part.to_vec()).await?;
        }
        Ok(())
    }

    /// The same for at most `CAPACITY`, which are not copied.
    async fn queue(&self, master: &OwnedFd, message: Vec<u8>) -> Result<()> {
        // Which fits into a `u32`.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.room
            .acquire_many(length)
            .await
            .map_err(|_| Error::gone("the session has ended"))?
            .forget();
        self.lock().messages.push_back(message);
        // A program that reads has it now; what does not fit is for `drain`. A failure is too:
        // it sees the same one.
        let _ = self.write_some(master);
        if !self.lock().messages.is_empty() {
            self.arrived.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure is in `host/ARCHITECTURE.md`.
    #[tokio::test]
    async fn a_message_is_not_copied_on_its_way_to_the_terminal() {
        let (reader, full) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        while rustix::io::write(&full, &[0; 4096]).is_ok() {}
        let input = Input::default();
        let message = b"whole".to_vec();
        let place = message.as_ptr();
        input.push(&full, message).await.unwrap();
        assert_eq!(input.lock().messages[0].as_ptr(), place);

        let large = vec![1; CAPACITY + 5];
        let none_is_left = input.push(&full, large.clone());
        let reads = async {
            let mut got = Vec::<u8>::new();
            let mut buffer = [0; 65536];
            while got.len() < large.len() {
                while let Ok(count) = rustix::io::read(&reader, &mut buffer) {
                    got.extend(buffer[..count].iter().filter(|byte| **byte == 1));
                }
                let _ = input.write_some(&full);
                tokio::task::yield_now().await;
            }
            got
        };
        let (pushed, got) = tokio::join!(none_is_left, reads);
        pushed.unwrap();
        assert!(got == large);
    }
}
