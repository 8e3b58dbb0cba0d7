use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::seats::Seat;

/// What goes on, such as a terminal, waits so many times as long for its reader as an answer of known
/// length: somebody may have stopped to read it.
const LONGER: u32 = 10;

/// A connection that ends with an error when its client takes nothing for too long. It has its seat
/// until it is closed, also when it has become a WebSocket.
pub struct Patient<S> {
    stream: S,
    patience: Duration,
    goes_on: GoesOn,
    /// Only while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _seat: Option<Arc<Seat>>,
}

/// Whether what is being sent has no end of its own.
#[derive(Clone, Default)]
pub struct GoesOn(Arc<AtomicBool>);

impl GoesOn {
    /// Says so of what is sent from now on.
    pub fn set(&self, goes_on: bool) {
        self.0.store(goes_on, Ordering::Relaxed);
    }
}

impl<S> Patient<S> {
    /// Waits so long each time.
    pub fn new(stream: S, patience: Duration, goes_on: GoesOn, seat: Option<Arc<Seat>>) -> Self {
        Patient {
            stream,
            patience,
            goes_on,
            stalled: None,
            _seat: seat,
        }
    }

    fn waited(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let times = match self.goes_on.0.load(Ordering::Relaxed) {
            true => LONGER,
            false => 1,
        };
        let patience = self.patience.saturating_mul(times);
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        let over = stalled.as_mut().poll(context);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.waited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.waited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
