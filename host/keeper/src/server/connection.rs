use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;

use crate::socket;

/// A daemon, or somebody who only asks.
pub struct Connection {
    pub socket: OwnedFd,
    /// Answers that could not be sent yet, with descriptors that are not duplicated for it: there may be
    /// no more. No request is read meanwhile, so they are few.
    waiting: VecDeque<(Vec<u8>, Vec<Arc<OwnedFd>>)>,
    /// The socket has room, and yet the first of them cannot be sent: too many descriptors are on
    /// their way to processes of this user.
    stuck: bool,
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Self {
        Connection {
            socket,
            waiting: VecDeque::new(),
            stuck: false,
        }
    }

    /// Whether its answers have to be taken before it is served again.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    pub fn waits_for(&self) -> EventFlags {
        match (self.stuck, self.is_behind()) {
            // Only the time helps.
            (true, _) => EventFlags::empty(),
            (false, true) => EventFlags::OUT,
            (false, false) => EventFlags::IN,
        }
    }

    /// Sends a frame, in its turn. An error ends the connection.
    pub fn send(&mut self, frame: Vec<u8>, descriptors: Vec<Arc<OwnedFd>>) -> io::Result<()> {
        self.waiting.push_back((frame, descriptors));
        self.flush()
    }

    /// Sends what waits, as far as that is possible.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stuck = false;
        while let Some((frame, descriptors)) = self.waiting.front() {
            match socket::send(&self.socket, frame, descriptors) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_lack(&error) => {
                    self.stuck = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_lack(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETOOMANYREFS | libc::ENOMEM | libc::ENOBUFS)
    )
}
