use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

/// Says when the client has left: calls that only wait for something end then.
#[derive(Clone, Debug)]
pub(super) struct Ending(watch::Receiver<bool>);

/// Input that says so.
pub(super) struct Input<R> {
    input: R,
    has_ended: watch::Sender<bool>,
}

impl Ending {
    pub(super) fn of<R>(input: R) -> (Input<R>, Ending) {
        let (has_ended, ending) = watch::channel(false);
        (Input { input, has_ended }, Ending(ending))
    }

    /// Waits until then.
    pub(super) async fn come(mut self) {
        // An error means that nobody reads the input any more.
        let _ = self.0.wait_for(|has_ended| *has_ended).await;
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.input).poll_read(cx, buffer);
        let is_over = match &read {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
        };
        if is_over {
            self.has_ended.send_replace(true);
        }
        read
    }
}
