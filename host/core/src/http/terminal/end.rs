//! The reasons for which a terminal's socket is closed.

use std::time::Duration;

use agentd_api::terminal::close;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::http::websocket::WebSocket;

/// Where a viewer is sent to.
pub type Sink = SplitSink<WebSocket, Message>;

/// How long a viewer may take for what is on its way to it and for the reason of the close.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why the socket is closed; none when the connection is gone.
pub type End = Option<(u16, &'static str)>;

/// The session has ended by itself.
pub const EXITED: (u16, &str) = (close::EXITED, "the process exited");
/// A person has ended it.
pub const DELETED: (u16, &str) = (close::DELETED, "the session was deleted");
/// What the viewer was let in with no longer counts.
pub const NOT_ALLOWED: End = Some((close::NOT_ALLOWED, "no longer allowed"));
/// The viewer has closed the socket.
pub const LEFT: End = Some((close::NORMAL, ""));
/// A fault of the service.
pub const INTERNAL: End = Some((
    close::INTERNAL,
    "something went wrong inside of the service",
));

/// Says why, or answers the viewer's own close.
pub async fn close_with(sink: &mut Sink, end: End) {
    if let Some((code, reason)) = end
        && sink.send(closing(code, reason)).await.is_err()
    {
        // The viewer closed first, and the answer to that is waiting to be sent.
        let _ = sink.close().await;
    }
}

fn closing(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }))
}

/// What follows from a message that could not be sent.
pub fn unsent(error: tungstenite::Error) -> End {
    use tungstenite::Error::{AlreadyClosed, ConnectionClosed, Io, Protocol};
    match error {
        Io(_) | ConnectionClosed | AlreadyClosed => None,
        // The close was read while the message was on its way.
        Protocol(ProtocolError::SendAfterClosing) => LEFT,
        _ => {
            tracing::error!(%error, "a message for a viewer could not be sent");
            INTERNAL
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn a_viewer_that_closes_while_it_is_sent_something_has_left() {
        let (here, there) = tokio::io::duplex(1024);
        let mut viewer = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        let mut service = WebSocketStream::from_raw_socket(here, Role::Server, None).await;
        viewer.send(Message::Close(None)).await.unwrap();
        assert!(service.next().await.unwrap().unwrap().is_close());
        let error = service.send(Message::binary("output")).await.unwrap_err();
        assert_eq!(unsent(error), LEFT);
    }
}
