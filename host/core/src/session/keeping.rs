use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;

use super::{Checkpoint, Terminal};
use crate::Result;

/// Where it is left what a later daemon needs of a session's terminal.
pub trait Keep: Send + Sync + 'static {
    /// So much output may follow a checkpoint before the program has to wait, in bytes.
    fn room(&self) -> u64;
    /// Keeps this in place of the one before, at once or not at all.
    fn leave(&self, checkpoint: Checkpoint) -> Leaving<'_>;
}

/// Done when it is left.
pub type Leaving<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Leaves checkpoints, so that what is kept of the output always follows one.
#[derive(Default)]
pub struct Keeping {
    keep: OnceLock<Arc<dyn Keep>>,
    /// The position of the newest.
    left: AtomicU64,
    /// The program's questions before this position were answered.
    answered: AtomicU64,
    /// Whether somebody is about to leave one, as one is due.
    due: AtomicBool,
    /// Held by whoever leaves one, so that an older one never replaces a newer one.
    leaving: Mutex<()>,
}

/// One is due when this part of the room was used.
const SHARE: u64 = 4;

impl Keeping {
    /// From here on the terminal is kept. What an earlier daemon has left of it, it begins with.
    pub fn begin(&self, keep: Arc<dyn Keep>, terminal: &Terminal) {
        let (left, answered) = terminal.begun_at();
        self.left.store(left, Ordering::Relaxed);
        self.answered(answered);
        // A session is started or adopted once.
        let _ = self.keep.set(keep);
    }

    /// Whether the terminal is kept.
    pub fn has_begun(&self) -> bool {
        self.keep.get().is_some()
    }

    /// True for the one caller that has to [`leave`](Self::leave) a checkpoint, as the screen has read
    /// much since the last.
    pub fn becomes_due(&self, terminal: &Terminal) -> bool {
        let Some(keep) = self.keep.get() else {
            return false;
        };
        let left = self.left.load(Ordering::Relaxed);
        let since = terminal.position().saturating_sub(left);
        since >= keep.room() / SHARE && !self.due.swap(true, Ordering::AcqRel)
    }

    /// Leaves one, if there is anything new since the last.
    pub async fn leave_changes(&self, terminal: &Terminal) -> Result<()> {
        match terminal.position() > self.left.load(Ordering::Relaxed) {
            true => self.leave(terminal).await,
            false => Ok(()),
        }
    }

    /// Leaves one. On a thread that nobody waits for.
    pub async fn leave(&self, terminal: &Terminal) -> Result<()> {
        let Some(keep) = self.keep.get() else {
            return Ok(());
        };
        let _leaving = self.leaving.lock().await;
        self.due.store(false, Ordering::Release);
        let before = self.left.load(Ordering::Relaxed);
        // What is answered from now on is not known to be.
        let answered = self.answered.load(Ordering::Acquire);
        let Some(mut checkpoint) = terminal.checkpoint(before) else {
            return Ok(());
        };
        checkpoint.answered = answered;
        let seq = checkpoint.cursor.seq;
        let left = keep.leave(checkpoint).await;
        // What failed is tried again after the next share, and not at once.
        self.left.store(seq, Ordering::Relaxed);
        left
    }

    /// The program's questions before this position were answered, which a later daemon learns with the
    /// next checkpoint.
    pub fn answered(&self, seq: u64) {
        self.answered.fetch_max(seq, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::PoisonError;

    use agentd_api::Size;

    use super::*;

    const SIZE: Size = Size { cols: 80, rows: 24 };
    const ROOM: u64 = 4000;

    #[derive(Default)]
    struct Kept(std::sync::Mutex<Vec<u64>>);

    impl Kept {
        fn positions(&self) -> Vec<u64> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        }
    }

    impl Keep for Kept {
        fn room(&self) -> u64 {
            ROOM
        }
        fn leave(&self, checkpoint: Checkpoint) -> Leaving<'_> {
            let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            positions.push(checkpoint.cursor.seq);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn print(terminal: &Terminal, bytes: usize) {
        terminal.push(&vec![b'x'; bytes]);
        assert!(terminal.begin_reading());
        while terminal.read_step().more {}
    }

    #[tokio::test]
    async fn a_checkpoint_is_left_after_each_share_of_the_room_and_none_while_nothing_happens() {
        let (terminal, kept) = (Terminal::new(SIZE, 1 << 20), Arc::new(Kept::default()));
        let keeping = Keeping::default();
        print(&terminal, 2000);
        assert!(!keeping.becomes_due(&terminal), "it is not kept");
        keeping.begin(kept.clone(), &terminal);
        assert!(keeping.becomes_due(&terminal));
        assert!(!keeping.becomes_due(&terminal), "somebody is about to");
        keeping.leave(&terminal).await.unwrap();
        assert!(!keeping.becomes_due(&terminal));
        keeping.leave_changes(&terminal).await.unwrap();
        assert_eq!(kept.positions(), [2000]);
        print(&terminal, 999);
        assert!(!keeping.becomes_due(&terminal));
        print(&terminal, 1);
        assert!(keeping.becomes_due(&terminal));
        keeping.leave(&terminal).await.unwrap();
        print(&terminal, 1);
        keeping.leave_changes(&terminal).await.unwrap();
        assert_eq!(kept.positions(), [2000, 3000, 3001]);
    }

    #[tokio::test]
    async fn what_many_leave_at_once_never_goes_back() {
        let (terminal, kept) = (Terminal::new(SIZE, 1 << 20), Arc::new(Kept::default()));
        let (terminal, keeping) = (Arc::new(terminal), Arc::new(Keeping::default()));
        keeping.begin(kept.clone(), &terminal);
        let mut leaving = tokio::task::JoinSet::new();
        for _ in 0..50 {
            print(&terminal, 10);
            let (terminal, keeping) = (terminal.clone(), keeping.clone());
            leaving.spawn_blocking(move || {
                tokio::runtime::Handle::current()
                    .block_on(keeping.leave(&terminal))
                    .unwrap();
            });
        }
        leaving.join_all().await;
        let positions = kept.positions();
        assert_eq!(positions.len(), 50);
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions.last(), Some(&500));
    }
}
