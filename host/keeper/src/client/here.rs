use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use agentd_process::descriptor::watch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::link::Link;
use crate::flood::is_readable_within;
use crate::server::reading::Reading;
use crate::server::session::Session;

/// A terminal of a keeper that is a thread of this process. While it is quiet, it is read by the task that
/// hands its output over: so the thread that a key wakes brings the echo, and no other one is woken.
pub struct Here {
    reading: Arc<Reading>,
    session: Arc<Session>,
    /// Registered only while it is quiet: a flood would wake the runtime for each of its writes.
    readable: Option<AsyncFd<Arc<OwnedFd>>>,
}

impl Here {
    /// None where the keeper reads it, in a process of its own.
    pub fn new(link: &Link, index: u64) -> Option<Here> {
        let reading = link.reading.clone()?;
        Some(Here {
            session: reading.get(index)?,
            reading,
            readable: None,
        })
    }

    /// Reads what there is, once there is something. Pending while it is not quiet; the bell is rung
    /// when it is so again.
    pub async fn read(this: &mut Option<Here>) {
        match this {
            Some(here) => here.read_quiet().await,
            None => pending().await,
        }
    }

    /// Whether something waits to be read.
    pub fn waits(&self) -> bool {
        is_readable_within(&*self.session, Duration::ZERO)
    }

    async fn read_quiet(&mut self) {
        if !self.session.quiet.load(SeqCst) {
            self.readable = None;
            return pending().await;
        }
        if self.readable.is_none() {
            self.readable = watch(self.session.terminal.clone(), Interest::READABLE).ok();
        }
        let Some(readable) = &self.readable else {
            // For a lack of memory, which the keeper's thread may be spared.
            let _ = self.reading.read_there(&self.session);
            return pending().await;
        };
        let Ok(mut ready) = readable.readable().await else {
            // The runtime ends.
            return pending().await;
        };
        // Nobody has to be notified of what is read here.
        self.session.ring.rouse_never();
        if self.reading.read_quiet(&self.session) {
            ready.clear_ready();
        }
    }
}
