use std::borrow::Cow;
use std::io::{self, stdout};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use agentd_terminal::OutputFilter;
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::timeout;

use super::screen_state::{ScreenState, ScreenWatch};

/// How many pieces of output may wait. When the terminal is slow, the service notices by the
/// missing acknowledgements.
const WAITING: usize = 4;
/// The beginning of a snapshot. Many terminals forget their scrollback at it, which is the person's
/// own, so they get a reset that keeps it.
const FULL_RESET: &[u8] = b"\x1bc";
/// How long a terminal that takes nothing may hold up the exit.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Standard output, written on a thread of its own, so that a terminal that does not take it
/// holds up neither keys nor signals.
pub(super) struct Screen {
    waiting: Sender<Piece>,
}

/// How far the terminal has come.
pub(super) struct Written(watch::Receiver<Mark>);

/// Some output.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Whether it is the whole screen.
    pub(super) snapshot: bool,
    /// The viewer's position after it.
    pub(super) mark: Mark,
}

/// Nobody reads standard output any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputGone;

/// A position in the output, as one connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) connection: u32,
    pub(super) seq: u64,
}

impl Screen {
    pub(super) fn open(state: Arc<ScreenState>) -> io::Result<(Screen, Written)> {
        let (waiting, pieces) = channel(WAITING);
        let (sender, written) = watch::channel(Mark::default());
        thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || write(pieces, &sender, &state))?;
        Ok((Screen { waiting }, Written(written)))
    }

    /// Waits for room.
    pub(super) async fn show(&self, piece: Piece) -> Result<(), OutputGone> {
        self.waiting.send(piece).await.map_err(|_| OutputGone)
    }

    /// Waits until everything is on the terminal, but not for ever.
    pub(super) async fn finish(self, mut written: Written) {
        drop(self.waiting);
        let ended = async { while written.0.changed().await.is_ok() {} };
        let _ = timeout(LAST_WORDS, ended).await;
    }
}

impl Written {
    /// The end of what is on the terminal, when it has changed.
    pub(super) async fn next(&mut self) -> Mark {
        if self.0.changed().await.is_err() {
            // The thread has ended; `Screen::show` reports that.
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }
}

fn write(mut pieces: Receiver<Piece>, written: &watch::Sender<Mark>, state: &ScreenState) {
    let mut watch = ScreenWatch::new();
    let mut filter = OutputFilter::new();
    // None when standard output is not a terminal.
    let rows = tcgetwinsize(stdout()).ok().map(|size| size.ws_row);
    if let Some(rows) = rows
        && write_all(&state.fresh_page(rows)).is_err()
    {
        return;
    }
    while let Some(piece) = pieces.blocking_recv() {
        let Piece {
            bytes,
            snapshot,
            mark,
        } = piece;
        let bytes = match bytes.strip_prefix(FULL_RESET) {
            Some(screen) if snapshot && rows.is_some() => {
                Bytes::from([&state.fresh_page(0), screen].concat())
            }
            _ => bytes,
        };
        let bytes = match rows {
            Some(_) => filter.filter(&bytes),
            None => Cow::Borrowed(&bytes[..]),
        };
        watch.advance(&bytes, state);
        if write_all(&bytes).is_err() {
            return;
        }
        // Only the viewer listens, and it may have left.
        let _ = written.send(mark);
    }
}

fn write_all(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            // Another program has left the descriptor non-blocking.
            Err(Errno::AGAIN) => {
                let stdout = stdout();
                poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
