use tokio::sync::watch;

/// The open WebSockets of a service, which outlive the requests that they began as.
#[derive(Debug, Default)]
pub struct Sockets {
    count: watch::Sender<usize>,
}

/// An open socket; closed when this is dropped.
#[derive(Debug)]
pub struct Socket(watch::Sender<usize>);

impl Sockets {
    /// One more.
    pub fn open(&self) -> Socket {
        self.count.send_modify(|count| *count += 1);
        Socket(self.count.clone())
    }

    /// Done when all are closed.
    pub async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
