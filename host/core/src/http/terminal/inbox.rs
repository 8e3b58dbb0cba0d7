use std::collections::VecDeque;

use agentd_api::terminal::{MAX_MESSAGE_BYTES, close};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::end::{End, LEFT};
use crate::http::websocket::WebSocket;

/// So much of what a viewer sends waits for the program, in bytes.
const MAX_WAITING: usize = MAX_MESSAGE_BYTES;

/// A message counts as so many bytes at least.
const MIN_SHARE: usize = 64;

/// What a viewer has sent and nobody has taken yet.
///
/// It is read ahead of what the program takes: a viewer that leaves is noticed while the program does
/// not read. Up to [`MAX_WAITING`] and one message; then neither is the socket read.
pub struct Inbox {
    stream: SplitStream<WebSocket>,
    messages: VecDeque<Message>,
    /// The shares of those that wait.
    waiting: usize,
}

impl Inbox {
    /// Nothing has been read yet.
    pub fn new(stream: SplitStream<WebSocket>) -> Self {
        Inbox {
            stream,
            messages: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Whether nothing more is read until something is taken.
    pub fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING
    }

    /// Reads until the viewer leaves. Nothing is lost when the future is dropped before.
    pub async fn read(&mut self) -> End {
        loop {
            if let Some(end) = self.read_one().await {
                return end;
            }
        }
    }

    /// Reads one message, or the end. Pending while there is no room.
    pub async fn read_one(&mut self) -> Option<End> {
        if self.is_full() {
            std::future::pending::<()>().await;
        }
        match self.stream.next().await {
            None => Some(None),
            Some(Err(error)) => Some(unread(&error)),
            Some(Ok(message)) if message.is_close() => Some(LEFT),
            Some(Ok(message)) => {
                self.waiting += share(&message);
                self.messages.push_back(message);
                None
            }
        }
    }

    /// The oldest, which does not count as waiting any more.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.waiting -= share(&message);
        Some(message)
    }
}

fn share(message: &Message) -> usize {
    message.len().max(MIN_SHARE)
}

/// What follows from a message that could not be read (RFC 6455 §7.4.1).
fn unread(error: &Error) -> End {
    use Error::{Capacity, Protocol, Utf8};
    match error {
        Capacity(_) => Some((close::TOO_LARGE, "the message is too large")),
        Utf8(_) => Some((close::NOT_TEXT, "the text is not UTF-8")),
        // The connection is gone.
        Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Protocol(_) => Some((close::PROTOCOL, "not a WebSocket frame")),
        _ => None,
    }
}
