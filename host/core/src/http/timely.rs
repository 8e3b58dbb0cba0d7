use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// A request's body that ends with an error when it has not all come in time.
pub struct Timely<B> {
    body: B,
    deadline: Instant,
    /// Only where it has to be waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    late: Late,
}

/// Whether a body came too late.
#[derive(Clone, Default)]
pub struct Late(Arc<AtomicBool>);

impl Late {
    /// Whether it did.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> Timely<B> {
    /// With so much time from now on; it says to `late` when that is over.
    pub fn new(body: B, limit: Duration, late: Late) -> Self {
        Timely {
            body,
            deadline: Instant::now() + limit,
            sleep: None,
            late,
        }
    }
}

impl<B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin> Body for Timely<B> {
    type Data = B::Data;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, io::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let deadline = this.deadline;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep.as_mut().poll(context).map(|()| {
            this.late.0.store(true, Ordering::Relaxed);
            Some(Err(io::ErrorKind::TimedOut.into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
