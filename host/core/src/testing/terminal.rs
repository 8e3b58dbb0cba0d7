use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::{Mode, ServerFrame};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::either::Either;

use super::DEADLINE;

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A viewer that keeps what it was shown.
#[derive(Debug)]
pub struct TestTerminal {
    socket: WebSocketStream<Stream>,
    /// The text frames in their order.
    pub frames: Vec<ServerFrame>,
    /// Output, without snapshots.
    pub output: Vec<u8>,
    /// The position after what was shown last.
    pub seq: u64,
    /// Where output went on after a snapshot or at the beginning: the position, and the length of
    /// `output` by then.
    pub jumps: Vec<(u64, usize)>,
    /// In so many binary frames.
    pub output_frames: usize,
    /// Output and snapshots in their order.
    pub shown: Vec<u8>,
    /// The last size that the service sent.
    pub size: (u16, u16),
    /// Why the server closed the socket; 1006 when it did not say (RFC 6455 §7.4.1).
    pub close: Option<u16>,
    /// The next binary frame is a snapshot of that many bytes.
    snapshot: Option<u64>,
}

/// The screen that `output` makes on a fresh terminal, with all that belongs to it.
pub fn screen_after((cols, rows): (u16, u16), output: &[u8]) -> String {
    let size = agentd_terminal::Size::new(cols, rows).unwrap();
    let mut emulator = agentd_terminal::Emulator::new(size, 1000);
    emulator.advance(output);
    String::from_utf8_lossy(&emulator.snapshot()).into_owned()
}

/// The first frame.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The session's name.
    pub session: String,
    /// What this viewer may do.
    pub mode: Mode,
    /// Changes when positions mean nothing any more.
    pub epoch: String,
    /// The position of the first byte that follows.
    pub seq: u64,
}

impl TestTerminal {
    pub(super) async fn open(
        address: SocketAddr,
        request: Request,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = match tls {
            None => Either::Left(stream),
            Some(tls) => {
                let connecting = TlsConnector::from(tls).connect(address.ip().into(), stream);
                Either::Right(Box::new(connecting.await.unwrap()))
            }
        };
        let socket = match client_async(request, stream).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(refusal)) => return Err(refusal.status().as_u16()),
            Err(error) => panic!("{error}"),
        };
        Ok(TestTerminal {
            socket,
            frames: Vec::new(),
            output: Vec::new(),
            seq: 0,
            jumps: Vec::new(),
            output_frames: 0,
            shown: Vec::new(),
            size: (0, 0),
            close: None,
            snapshot: None,
        })
    }

    /// The first frame, which must be the hello.
    pub async fn hello(&mut self) -> Hello {
        self.wait_for("the hello", |terminal| !terminal.frames.is_empty())
            .await;
        match &self.frames[0] {
            ServerFrame::Hello {
                session,
                mode,
                epoch,
                seq,
                ..
            } => Hello {
                session: session.clone(),
                mode: *mode,
                epoch: epoch.clone(),
                seq: *seq,
            },
            other => panic!("the first frame is {other:?}"),
        }
    }

    /// Listens until `condition` holds.
    pub async fn wait_for(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                assert!(self.close.is_none(), "closed before {what}: {self:?}");
                self.next().await;
            }
        };
        let waited = timeout(DEADLINE, wait).await.is_ok();
        assert!(waited, "in vain: {what}: {self:?}");
    }

    /// Listens until the text is shown.
    pub async fn shows(&mut self, text: &str) {
        self.wait_for(text, |terminal| terminal.text().contains(text))
            .await;
    }

    /// Listens to the end, and gives the close code.
    pub async fn closed(&mut self) -> u16 {
        self.wait_for("the close", |terminal| terminal.close.is_some())
            .await;
        self.close.unwrap()
    }

    /// Listens for so long or to the end, and forgets what it was shown.
    pub async fn listen(&mut self, time: Duration) {
        let listen = async {
            while self.close.is_none() {
                self.next().await;
                self.output.clear();
                self.shown.clear();
            }
        };
        // The frame that is being read is kept.
        let _ = timeout(time, listen).await;
    }

    /// Listens for so long or to the end.
    pub async fn listen_on(&mut self, time: Duration) {
        let listen = async {
            while self.close.is_none() {
                self.next().await;
            }
        };
        // The frame that is being read is kept.
        let _ = timeout(time, listen).await;
    }

    /// A position that this viewer can return to: the epoch and the `seq` of the hello.
    pub fn position(&self) -> Option<(String, u64)> {
        self.frames.iter().find_map(|frame| match frame {
            ServerFrame::Hello { epoch, seq, .. } => Some((epoch.clone(), *seq)),
            _ => None,
        })
    }

    /// What was shown, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// The code and the signal of the exit frame, which must be the last frame.
    #[track_caller]
    pub fn exit(&self) -> (Option<i32>, Option<i32>) {
        match self.frames.last() {
            Some(ServerFrame::Exit { code, signal }) => (*code, *signal),
            other => panic!("the last frame is {other:?}"),
        }
    }

    /// The codes of all refusals.
    pub fn errors(&self) -> Vec<&str> {
        fn code(frame: &ServerFrame) -> Option<&str> {
            match frame {
                ServerFrame::Error { code, .. } => Some(code),
                _ => None,
            }
        }
        self.frames.iter().filter_map(code).collect()
    }

    /// Types.
    pub async fn type_keys(&mut self, keys: impl Into<Bytes>) {
        self.send(Message::Binary(keys.into())).await.unwrap();
    }

    /// Says that the window has this size.
    pub async fn resize(&mut self, cols: u32, rows: u32) {
        let frame = json!({"type": "resize", "cols": cols, "rows": rows});
        self.send_text(&frame.to_string()).await;
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await.unwrap();
    }

    /// Sends any message.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Leaves.
    pub async fn detach(mut self) {
        let frame = CloseFrame {
            code: 1000.into(),
            reason: "".into(),
        };
        self.send(Message::Close(Some(frame))).await.unwrap();
        assert_eq!(self.closed().await, 1000);
    }

    async fn next(&mut self) {
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => self.take_bytes(&bytes),
            Some(Ok(Message::Text(text))) => {
                let frame = serde_json::from_str(&text).unwrap();
                self.take_frame(frame);
            }
            Some(Ok(Message::Close(frame))) => {
                self.close = Some(frame.map_or(1005, |CloseFrame { code, .. }| code.into()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.close = Some(1006),
        }
    }

    fn take_bytes(&mut self, bytes: &[u8]) {
        match self.snapshot.take() {
            Some(length) => assert_eq!(length, bytes.len() as u64, "the snapshot's length"),
            None => {
                self.output_frames += 1;
                self.output.extend_from_slice(bytes);
                self.seq += bytes.len() as u64;
            }
        }
        self.shown.extend_from_slice(bytes);
    }

    fn take_frame(&mut self, frame: ServerFrame) {
        assert_eq!(self.snapshot, None, "a frame between a snapshot's two");
        match &frame {
            ServerFrame::Hello { cols, rows, .. } | ServerFrame::Resize { cols, rows } => {
                self.size = (*cols, *rows);
            }
            ServerFrame::Snapshot { bytes, .. } => self.snapshot = Some(*bytes),
            _ => {}
        }
        if let ServerFrame::Hello { seq, .. } | ServerFrame::Snapshot { seq, .. } = &frame {
            self.seq = *seq;
            self.jumps.push((*seq, self.output.len()));
        }
        self.frames.push(frame);
    }
}
