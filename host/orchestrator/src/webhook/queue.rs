use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_api::WebhookHealth;
use tokio::sync::watch;

use super::message::Message;

/// So many events wait at most.
const ROOM: usize = 1024;

/// The events that are to be sent. The oldest makes room for a new one.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Message>,
    /// Whether one more is on its way.
    is_sending: bool,
    delivered: u64,
    dropped: u64,
    error: Option<String>,
    /// How many were dropped since the last that was taken.
    dropped_since: u64,
}

impl Queue {
    /// One more, where there is one.
    pub fn extend(&self, message: Option<Message>) {
        let Some(message) = message else { return };
        let mut inner = self.lock();
        if inner.waiting.len() == ROOM {
            inner.waiting.pop_front();
            inner.drop_some(1);
        }
        inner.waiting.push_back(message);
        drop(inner);
        self.changes.send_replace(());
    }

    /// So many never came here.
    pub fn dropped(&self, count: u64) {
        self.lock().drop_some(count);
    }

    /// The oldest, which is then on its way.
    pub async fn next(&self) -> Message {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            {
                let mut inner = self.lock();
                if let Some(message) = inner.waiting.pop_front() {
                    inner.is_sending = true;
                    return message;
                }
            }
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    /// What was on its way was taken.
    pub fn delivered(&self) {
        let mut inner = self.lock();
        inner.is_sending = false;
        inner.delivered += 1;
        if inner.error.take().is_some() {
            let dropped = inner.dropped_since;
            tracing::info!("the webhook takes events again; {dropped} were dropped");
        }
        inner.dropped_since = 0;
        drop(inner);
        self.changes.send_replace(());
    }

    /// An attempt failed, and there will be another one.
    pub fn failed(&self, reason: String) {
        let mut inner = self.lock();
        if inner.error.is_none() {
            tracing::warn!("the webhook does not take an event, which is tried again: {reason}");
        }
        inner.error = Some(reason);
        drop(inner);
        self.changes.send_replace(());
    }

    /// There will be no other one.
    pub fn given_up(&self, reason: String) {
        let mut inner = self.lock();
        inner.is_sending = false;
        inner.drop_some(1);
        inner.error = Some(reason);
    }

    /// Done when nothing is left, or what is left fails.
    pub async fn idle(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            {
                let inner = self.lock();
                let is_empty = inner.waiting.is_empty() && !inner.is_sending;
                if is_empty || inner.error.is_some() {
                    return;
                }
            }
            let _ = changes.changed().await;
        }
    }

    pub fn health(&self) -> WebhookHealth {
        let inner = self.lock();
        WebhookHealth {
            queued: inner.waiting.len() as u64 + u64::from(inner.is_sending),
            delivered: inner.delivered,
            dropped: inner.dropped,
            error: inner.error.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Said once, and again with their number when the receiver takes something.
    fn drop_some(&mut self, count: u64) {
        if self.dropped_since == 0 {
            tracing::warn!("events for the webhook are dropped, as it does not take them");
        }
        self.dropped += count;
        self.dropped_since += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Option<Message> {
        Some(Message {
            delivery: number.to_string(),
            body: String::new(),
        })
    }

    #[tokio::test]
    async fn the_oldest_makes_room_and_is_counted() {
        let queue = Queue::default();
        for number in 0..ROOM + 5 {
            queue.extend(message(number));
        }
        assert_eq!(queue.health().queued, ROOM as u64);
        assert_eq!(queue.health().dropped, 5);
        assert_eq!(queue.next().await.delivery, "5");
        assert_eq!(queue.health().queued, ROOM as u64);
        queue.failed("no".to_owned());
        assert_eq!(queue.health().error.as_deref(), Some("no"));
        queue.idle().await;
        queue.delivered();
        let health = queue.health();
        assert_eq!((health.delivered, health.dropped), (1, 5));
        assert_eq!((health.queued, health.error), (ROOM as u64 - 1, None));
        assert_eq!(queue.next().await.delivery, "6");
        queue.given_up("no".to_owned());
        assert_eq!(queue.health().dropped, 6);
    }
}
