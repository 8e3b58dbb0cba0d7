use std::time::Duration;

use agentd_api::client::{Console, Position, TerminalEvent, TerminalReader, TerminalWriter};
use agentd_api::terminal::{ClientFrame, TerminalQuery};
use agentd_api::{ClientError, Size};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How many pieces of input may wait for a service that does not read.
const WAITING: usize = 64;
/// How long closing the connection may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// One connection to a terminal. Input, size and acknowledgements go out beside what comes in.
pub(super) struct Link {
    reader: TerminalReader,
    input: mpsc::Sender<Bytes>,
    size: watch::Sender<Option<Size>>,
    acknowledged: watch::Sender<u64>,
    outgoing: JoinHandle<()>,
}

impl Link {
    /// Connects to what the query names; with a position, to go on from there.
    pub(super) async fn open(
        console: &Console,
        query: &TerminalQuery,
        position: Option<Position>,
    ) -> Result<Link, ClientError> {
        let (seq, epoch) = position.map(|at| (at.seq, at.epoch)).unzip();
        let query = TerminalQuery {
            seq,
            epoch,
            ack: Some(1),
            ..query.clone()
        };
        let (reader, writer) = console.terminal(&query).await?.split();
        let (input, input_receiver) = mpsc::channel(WAITING);
        let (size, size_receiver) = watch::channel(None);
        let (acknowledged, ack_receiver) = watch::channel(0);
        let outgoing = Outgoing {
            writer,
            input: input_receiver,
            size: size_receiver,
            acknowledged: ack_receiver,
        };
        Ok(Link {
            reader,
            input,
            size,
            acknowledged,
            outgoing: tokio::spawn(outgoing.run()),
        })
    }

    /// What comes in next. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Result<TerminalEvent, ClientError> {
        self.reader.next().await
    }

    /// Where this viewer is, after all that came in.
    pub(super) fn position(&self) -> Option<Position> {
        self.reader.position()
    }

    /// Takes keyboard input; full when the service does not read.
    pub(super) fn input(&self) -> mpsc::Sender<Bytes> {
        self.input.clone()
    }

    /// The size of this viewer's window; a newer one replaces it.
    pub(super) fn resize(&self, size: Size) {
        self.size.send_replace(Some(size));
    }

    pub(super) fn acknowledge(&self, seq: u64) {
        self.acknowledged.send_replace(seq);
    }

    /// Closes the connection, if the service still listens.
    pub(super) async fn close(mut self) {
        drop(self.input);
        if timeout(GOODBYE, &mut self.outgoing).await.is_err() {
            self.outgoing.abort();
        }
    }
}

/// Sends until the link is dropped or the connection breaks, which the reader notices as well.
struct Outgoing {
    writer: TerminalWriter,
    input: mpsc::Receiver<Bytes>,
    size: watch::Receiver<Option<Size>>,
    acknowledged: watch::Receiver<u64>,
}

impl Outgoing {
    async fn run(mut self) {
        loop {
            let sent = tokio::select! {
                biased;
                Ok(()) = self.size.changed() => {
                    let Some(size) = *self.size.borrow_and_update() else { continue };
                    let (cols, rows) = (size.cols.into(), size.rows.into());
                    self.writer.frame(&ClientFrame::Resize { cols, rows }).await
                }
                Ok(()) = self.acknowledged.changed() => {
                    let seq = *self.acknowledged.borrow_and_update();
                    self.writer.frame(&ClientFrame::Ack { seq }).await
                }
                input = self.input.recv() => match input {
                    Some(input) => self.writer.input(input).await,
                    None => {
                        let _ = self.writer.close().await;
                        return;
                    }
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
