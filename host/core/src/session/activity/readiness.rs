use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// A program whose prompt was not recognized for so long is given what is typed for it anyway.
pub(in crate::session) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a program that has just been started reads what is typed for it: many drop keys, above all Enter,
/// until they have drawn their prompt.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: watch::Sender<bool>,
    /// Something is on its screen.
    drawn: AtomicBool,
    /// Somebody has waited for it.
    asked: AtomicBool,
}

impl Readiness {
    /// It reads what is typed.
    pub fn set(&self) {
        self.ready
            .send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    /// There is something on its screen.
    pub fn set_drawn(&self) {
        self.drawn.store(true, Ordering::Release);
    }

    /// It prints nothing any more. One that has only asked its terminal something is still starting.
    pub fn rests(&self) {
        if self.drawn.load(Ordering::Acquire) {
            self.set();
        }
    }

    /// Waits until it reads what is typed, but not for ever. Nobody waits twice. Whether this is the first
    /// call.
    pub async fn wait(&self) -> bool {
        let mut ready = self.ready.subscribe();
        let _ = timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        self.set();
        !self.asked.swap(true, Ordering::AcqRel)
    }
}
