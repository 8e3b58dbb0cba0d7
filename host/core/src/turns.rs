use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// Those with the same key take turns, in the order in which they came.
#[derive(Debug)]
pub struct Turns<K> {
    by_key: Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Turns {
            by_key: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Waits for those of that key that came before. The next one's turn comes when this is dropped.
    pub async fn take(&self, key: &K) -> OwnedMutexGuard<()> {
        self.of(key).lock_owned().await
    }

    fn of(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = by_key.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        by_key.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        by_key.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn those_of_one_key_wait_for_each_other_and_for_nobody_else() {
        let turns = Turns::default();
        let first = turns.take(&"one").await;
        let mut second = Box::pin(turns.take(&"one"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(turns.take(&"other").await);
        drop(first);
        // It came later, and the one before it has not even looked since.
        assert!(turns.take(&"one").now_or_never().is_none());
        drop(second.await);
        drop(turns.take(&"one").await);
        assert_eq!(turns.by_key.lock().unwrap().len(), 1);
    }
}
