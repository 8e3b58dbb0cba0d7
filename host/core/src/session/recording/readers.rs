use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reader::Pieces;
use crate::session::lock;

/// So many may read from the disk at a time: each has a thread, which a disk that does not answer keeps.
const READ_AT_ONCE: usize = 64;

/// Of so many who wait for their clients the files stay open.
const KEPT_OPEN: usize = 64;

/// Those who fetch recordings. Who waits for a client takes no more than a place in a list, so that clients that do not
/// read keep nobody out: when there are many, the files of those who wait longest are closed, and opened when they read on.
pub(super) struct Readers {
    reads: Arc<Semaphore>,
    kept_open: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// In the order in which they began to wait.
    all: BTreeMap<u64, Pieces>,
    /// Those of them whose files are open.
    open: BTreeSet<u64>,
}

impl Readers {
    pub fn new() -> Arc<Self> {
        Self::of(READ_AT_ONCE, KEPT_OPEN)
    }

    pub(super) fn of(read_at_once: usize, kept_open: usize) -> Arc<Self> {
        Arc::new(Readers {
            reads: Arc::new(Semaphore::new(read_at_once)),
            kept_open,
            waiting: Mutex::default(),
        })
    }

    /// Waits until one more may read; as long as this is there.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.reads.clone().acquire_owned().await.ok()
    }

    /// Begins to wait for a client; by what is returned it is found again.
    pub fn wait(&self, pieces: Pieces) -> u64 {
        let mut waiting = self.lock();
        let key = waiting.next;
        waiting.next += 1;
        waiting.all.insert(key, pieces);
        waiting.open.insert(key);
        while waiting.open.len() > self.kept_open
            && let Some(longest) = waiting.open.pop_first()
        {
            if let Some(pieces) = waiting.all.get_mut(&longest) {
                pieces.close();
            }
        }
        key
    }

    /// Waits no longer.
    pub fn go_on(&self, key: u64) -> Option<Pieces> {
        let mut waiting = self.lock();
        waiting.open.remove(&key);
        waiting.all.remove(&key)
    }

    #[cfg(test)]
    pub fn may_read(&self) -> usize {
        self.reads.available_permits()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("waiting", &self.lock().all.len())
            .finish_non_exhaustive()
    }
}
