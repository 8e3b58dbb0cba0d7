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
    /// Notes that what the program asked its terminal before this position is answered.
    fn answered(&self, position: u64);
    /// Keeps this in place of the one before, at once or not at all.
    fn leave(&self, checkpoint: Checkpoint) -> Leaving<'_>;
    /// Nobody needs it any more: the program has ended, and how is known elsewhere.
    fn let_go(&self);
}

/// Done when it is left.
pub type Leaving<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Leaves checkpoints, so that what is kept of the output always follows one.
#[derive(Default)]
pub struct Keeping {
    keep: OnceLock<Arc<dyn Keep>>,
    /// The position of the newest.
    left: AtomicU64,
    /// The position of the newest that was taken, which may not be left yet.
    taken: AtomicU64,
    /// Whether somebody is about to take one, as one is due.
    due: AtomicBool,
    /// Whether a later daemon needs nothing of it any more.
    is_over: AtomicBool,
    /// Held by whoever leaves one, so that an older one never replaces a newer one.
    leaving: Mutex<()>,
}

/// One is due when this part of the room was used.
const SHARE: u64 = 4;

impl Keeping {
    /// From here on the terminal is kept. What an earlier daemon has left of it, it begins with.
    pub fn begin(&self, keep: Arc<dyn Keep>, terminal: &Terminal) {
        self.left.store(terminal.begun_at(), Ordering::Relaxed);
        self.taken.store(terminal.begun_at(), Ordering::Relaxed);
        // A session is started or adopted once.
        let _ = self.keep.set(keep);
    }

    /// What the program asked before this position is answered.
    pub fn note_answered(&self, position: u64) {
        if let Some(keep) = self.keep.get() {
            keep.answered(position);
        }
    }

    /// A later daemon needs nothing of it any more.
    pub fn let_go(&self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(keep) = self.keep.get() {
            keep.let_go();
        }
    }

    /// Whether the terminal is kept, for a later daemon that may need it.
    pub fn is_kept(&self) -> bool {
        self.keep.get().is_some() && !self.is_over.load(Ordering::Acquire)
    }

    /// True for the one caller that has to [`leave`](Self::leave) a checkpoint, as the screen has read
    /// much since the last.
    pub fn becomes_due(&self, terminal: &Terminal) -> bool {
        let Some(keep) = self.keep.get() else {
            return false;
        };
        let taken = self.taken.load(Ordering::Relaxed);
        let since = terminal.position().saturating_sub(taken);
        since >= keep.room() / SHARE && self.becomes_due_now()
    }

    /// The same whatever was read.
    pub fn becomes_due_now(&self) -> bool {
        self.is_kept() && !self.due.swap(true, Ordering::AcqRel)
    }

    /// Whether there is anything new since the last.
    pub fn has_changes(&self, terminal: &Terminal) -> bool {
        terminal.position() > self.left.load(Ordering::Relaxed)
    }

    /// Leaves what `take` gives, to which the position of the last one is given. On a thread that nobody
    /// waits for.
    pub async fn leave(
        &self,
        terminal: &Terminal,
        take: impl FnOnce(u64) -> Option<Checkpoint>,
    ) -> Result<()> {
        let Some(keep) = self.keep.get() else {
            return Ok(());
        };
        let _leaving = self.leaving.lock().await;
        // What is taken is no older: while it is waited for, the reader makes no other one due.
        self.taken.store(terminal.position(), Ordering::Relaxed);
        // What changes from here on makes another one due.
        self.due.store(false, Ordering::Release);
        let left = self.left.load(Ordering::Relaxed);
        let Some(checkpoint) = take(left) else {
            self.taken.store(left, Ordering::Relaxed);
            return Ok(());
        };
        let seq = checkpoint.cursor.seq;
        self.taken.store(seq, Ordering::Relaxed);
        let result = keep.leave(checkpoint).await;
        match &result {
            Ok(()) => self.left.store(seq, Ordering::Relaxed),
            Err(_) => self.taken.store(left, Ordering::Relaxed),
        }
        result
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
        fn answered(&self, _: u64) {}
        fn let_go(&self) {}
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

    async fn leave(keeping: &Keeping, terminal: &Terminal) {
        let take = |left| terminal.checkpoint(left);
        keeping.leave(terminal, take).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_let_go_is_not_left_any_more() {
        let (terminal, kept) = (Terminal::new(SIZE, 1 << 20), Arc::new(Kept::default()));
        let keeping = Keeping::default();
        keeping.begin(kept, &terminal);
        print(&terminal, 2000);
        assert!(keeping.is_kept() && keeping.becomes_due(&terminal));
        leave(&keeping, &terminal).await;
        keeping.let_go();
        print(&terminal, 2000);
        assert!(!keeping.is_kept() && !keeping.becomes_due_now());
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
        leave(&keeping, &terminal).await;
        assert!(!keeping.becomes_due(&terminal) && !keeping.has_changes(&terminal));
        assert_eq!(kept.positions(), [2000]);
        print(&terminal, 999);
        assert!(!keeping.becomes_due(&terminal));
        print(&terminal, 1);
        assert!(keeping.becomes_due(&terminal));
        leave(&keeping, &terminal).await;
        print(&terminal, 1);
        assert!(keeping.has_changes(&terminal));
        leave(&keeping, &terminal).await;
        assert_eq!(kept.positions(), [2000, 3000, 3001]);
    }

    /// Leaves nothing before it is allowed to.
    struct Slow(Arc<tokio::sync::Semaphore>);

    impl Keep for Slow {
        fn room(&self) -> u64 {
            ROOM
        }
        fn answered(&self, _: u64) {}
        fn let_go(&self) {}
        fn leave(&self, _: Checkpoint) -> Leaving<'_> {
            Box::pin(async {
                let allowed = self.0.acquire().await;
                allowed
                    .map_err(|_| crate::Error::internal("not left"))?
                    .forget();
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn while_one_is_being_left_the_next_is_due_after_the_next_share() {
        let (terminal, keeping) = (Terminal::new(SIZE, 1 << 20), Keeping::default());
        let allowed = Arc::new(tokio::sync::Semaphore::new(0));
        keeping.begin(Arc::new(Slow(allowed.clone())), &terminal);
        print(&terminal, 1000);
        assert!(keeping.becomes_due(&terminal));
        let mut leaving = Box::pin(leave(&keeping, &terminal));
        assert!(futures_util::poll!(&mut leaving).is_pending());
        print(&terminal, 999);
        assert!(!keeping.becomes_due(&terminal));
        print(&terminal, 1);
        assert!(keeping.becomes_due(&terminal));
        allowed.add_permits(1);
        leaving.await;
        assert!(!keeping.becomes_due(&terminal), "somebody is about to");
    }

    #[tokio::test]
    async fn what_is_read_before_one_is_taken_makes_no_other_one_due() {
        let (terminal, keeping) = (Terminal::new(SIZE, 1 << 20), Keeping::default());
        keeping.begin(Arc::new(Kept::default()), &terminal);
        print(&terminal, 1000);
        assert!(keeping.becomes_due(&terminal));
        let take = |left| {
            print(&terminal, 10);
            assert!(!keeping.becomes_due(&terminal));
            terminal.checkpoint(left)
        };
        keeping.leave(&terminal, take).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_not_left_is_due_again() {
        let (terminal, keeping) = (Terminal::new(SIZE, 1 << 20), Keeping::default());
        let allowed = Arc::new(tokio::sync::Semaphore::new(0));
        allowed.close();
        keeping.begin(Arc::new(Slow(allowed)), &terminal);
        print(&terminal, 1000);
        assert!(keeping.becomes_due(&terminal));
        let take = |left| terminal.checkpoint(left);
        assert!(keeping.leave(&terminal, take).await.is_err());
        assert!(keeping.becomes_due(&terminal));
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
                tokio::runtime::Handle::current().block_on(leave(&keeping, &terminal));
            });
        }
        leaving.join_all().await;
        let positions = kept.positions();
        assert_eq!(positions.len(), 50);
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions.last(), Some(&500));
    }
}
