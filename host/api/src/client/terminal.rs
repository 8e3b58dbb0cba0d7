use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{RequestBuilder, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::address::Address;
use super::{Client, ClientError};
use crate::terminal::{ClientFrame, ServerFrame, close};

type Socket = WebSocketStream<Upgraded>;

/// A viewer's connection to a terminal.
pub struct Terminal {
    address: Address,
    socket: Socket,
}

/// What the service sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// A text frame, except the announcement of a snapshot.
    Frame(ServerFrame),
    /// Bytes that restore the whole screen.
    Snapshot(Bytes),
    /// Output of the program.
    Output(Bytes),
    /// The end, with one of the codes of [`close`].
    Closed {
        /// Why.
        code: u16,
        /// Why, for people.
        reason: String,
    },
}

/// Where in the output a viewer is: what it needs to go on there later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which count of bytes `seq` belongs to.
    pub epoch: String,
    /// Bytes of output since the session began.
    pub seq: u64,
}

impl Terminal {
    /// The upgrade is an ordinary request, so that a refusal is an ordinary answer with a body.
    pub(super) async fn open(
        client: &Client,
        request: RequestBuilder,
    ) -> Result<Terminal, ClientError> {
        let key = generate_key();
        let request = request
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = client.send(request).await?;
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        let accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS
            && accept.is_some_and(|accept| accept == derive_accept_key(key.as_bytes()).as_str());
        if !accepted {
            let reason = "it does not upgrade the connection to a WebSocket";
            return Err(ClientError::protocol(&client.address, reason));
        }
        let stream = response
            .upgrade()
            .await
            .map_err(|error| ClientError::lost(&client.address, &error))?;
        Ok(Terminal {
            address: client.address.clone(),
            socket: WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
        })
    }

    /// Two halves that can be used at the same time.
    pub fn split(self) -> (TerminalReader, TerminalWriter) {
        let (sink, stream) = self.socket.split();
        let reader = TerminalReader {
            address: self.address.clone(),
            stream,
            epoch: String::new(),
            seq: 0,
            snapshot: None,
        };
        let writer = TerminalWriter {
            address: self.address,
            sink,
        };
        (reader, writer)
    }
}

/// The half that hears.
pub struct TerminalReader {
    address: Address,
    stream: SplitStream<Socket>,
    epoch: String,
    seq: u64,
    /// The position of the snapshot that the next binary frame is.
    snapshot: Option<u64>,
}

impl TerminalReader {
    /// The next event. After [`TerminalEvent::Closed`] there is none. Nothing is lost when this is
    /// cancelled.
    pub async fn next(&mut self) -> Result<TerminalEvent, ClientError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(self.binary(bytes)),
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text)
                        .map_err(|error| ClientError::protocol(&self.address, error))?;
                    if let Some(frame) = self.text(frame) {
                        return Ok(TerminalEvent::Frame(frame));
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Ok(match frame {
                        Some(CloseFrame { code, reason }) => TerminalEvent::Closed {
                            code: code.into(),
                            reason: reason.to_string(),
                        },
                        None => TerminalEvent::Closed {
                            code: close::NORMAL,
                            reason: String::new(),
                        },
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ClientError::lost(&self.address, &error)),
                None => return Err(ClientError::lost(&self.address, &Error::ConnectionClosed)),
            }
        }
    }

    /// Where the viewer is after everything that [`TerminalReader::next`] has returned; None
    /// before the hello.
    pub fn position(&self) -> Option<Position> {
        (!self.epoch.is_empty()).then(|| Position {
            epoch: self.epoch.clone(),
            seq: self.seq,
        })
    }

    fn binary(&mut self, bytes: Bytes) -> TerminalEvent {
        match self.snapshot.take() {
            Some(seq) => {
                self.seq = seq;
                TerminalEvent::Snapshot(bytes)
            }
            None => {
                self.seq += bytes.len() as u64;
                TerminalEvent::Output(bytes)
            }
        }
    }

    fn text(&mut self, frame: ServerFrame) -> Option<ServerFrame> {
        match &frame {
            ServerFrame::Hello { epoch, seq, .. } => {
                epoch.clone_into(&mut self.epoch);
                self.seq = *seq;
            }
            ServerFrame::Snapshot { seq, .. } => {
                self.snapshot = Some(*seq);
                return None;
            }
            _ => {}
        }
        Some(frame)
    }
}

/// The half that speaks. What it sends waits for as long as the service does not read.
pub struct TerminalWriter {
    address: Address,
    sink: SplitSink<Socket, Message>,
}

impl TerminalWriter {
    /// Keyboard input, at most [`crate::terminal::MAX_MESSAGE_BYTES`].
    pub async fn input(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        self.send(Message::Binary(bytes)).await
    }

    /// A text frame.
    pub async fn frame(&mut self, frame: &ClientFrame) -> Result<(), ClientError> {
        let text = serde_json::to_string(frame)
            .map_err(|error| ClientError::protocol(&self.address, error))?;
        self.send(Message::Text(text.into())).await
    }

    /// Says that this viewer leaves.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "detached".into(),
        };
        self.send(Message::Close(Some(frame))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), ClientError> {
        self.sink
            .send(message)
            .await
            .map_err(|error| ClientError::lost(&self.address, &error))
    }
}
