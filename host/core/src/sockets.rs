use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The open WebSockets of a service, which outlive the requests that they began as.
#[derive(Debug, Default)]
pub struct Sockets {
    count: watch::Sender<usize>,
    viewers: Arc<Viewers>,
}

/// How many there are for each session.
#[derive(Debug, Default)]
struct Viewers(Mutex<HashMap<String, usize>>);

/// An open socket; closed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    count: watch::Sender<usize>,
    viewers: Arc<Viewers>,
    session: String,
}

impl Sockets {
    /// One more, unless there are so many for that session.
    pub fn open(&self, session: &str, most: usize) -> Option<Socket> {
        let mut viewers = self.viewers.lock();
        let of_session = viewers.entry(session.to_owned()).or_default();
        if *of_session >= most {
            return None;
        }
        *of_session += 1;
        self.count.send_modify(|count| *count += 1);
        Some(Socket {
            count: self.count.clone(),
            viewers: self.viewers.clone(),
            session: session.to_owned(),
        })
    }

    /// Done when all are closed.
    pub async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Viewers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut viewers = self.viewers.lock();
        if let Some(of_session) = viewers.get_mut(&self.session) {
            *of_session -= 1;
            if *of_session == 0 {
                viewers.remove(&self.session);
            }
        }
        self.count.send_modify(|count| *count -= 1);
    }
}
