//! What a viewer is sent.

use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::{Mode, ServerFrame, close};
use agentd_api::{Exit, Size};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::end::{DELETED, EXITED, End, PATIENCE, Sink, close_with, unsent};
use crate::Error;
use crate::http::websocket::WebSocket;
use crate::in_place;
use crate::session::{Frame, Hole, Remains, Session, Snapshot, View, Viewer};

/// How long a viewer of a session that is over may take to be sent its last screen.
const SCREEN_PATIENCE: Duration = Duration::from_secs(30);

/// Sends what there is to see, to its end; or up to where it cannot be sent.
pub async fn send(
    mut sink: OwnedMutexGuard<Sink>,
    session: Arc<Session>,
    mut view: View,
    viewer: Arc<Viewer>,
    mut refused: mpsc::Receiver<Error>,
) -> Result<End, End> {
    let cursor = view.cursor();
    let hello = ServerFrame::Hello {
        session: session.name.to_string(),
        mode: if viewer.writes() { Mode::Rw } else { Mode::Ro },
        cols: cursor.size.cols,
        rows: cursor.size.rows,
        epoch: session.id.clone(),
        seq: cursor.seq,
    };
    sink.send(text(&hello)).await.map_err(unsent)?;
    if let Some(Hole { from, to }) = session.lost_output() {
        let lost = ServerFrame::Lost { from, to };
        sink.send(text(&lost)).await.map_err(unsent)?;
    }
    loop {
        let frame = tokio::select! {
            frame = view.next() => frame,
            Some(error) = refused.recv() => {
                let frame = ServerFrame::Error { code: error.code.into(), detail: error.message };
                sink.send(text(&frame)).await.map_err(unsent)?;
                continue;
            }
        };
        in_place::turn().await;
        let message = match frame {
            Frame::Output(bytes) => Message::binary(bytes),
            Frame::Resize(Size { cols, rows }) => text(&ServerFrame::Resize { cols, rows }),
            Frame::Snapshot(Snapshot { cursor, bytes, .. }) => {
                send_snapshot(&mut sink, cursor.seq, bytes).await?;
                continue;
            }
            Frame::End => {
                let end = send_exit(&mut sink, session.record().exit).await?;
                let is_deleted = session.is_delete_requested() && end == Some(EXITED);
                return Ok(if is_deleted { Some(DELETED) } else { end });
            }
        };
        sink.send(message).await.map_err(unsent)?;
    }
}

/// Shows a session that is over, and of which this was kept.
pub async fn show(socket: WebSocket, remains: Remains) {
    let (mut sink, _stream) = socket.split();
    let sending = async {
        let hello = ServerFrame::Hello {
            session: remains.name,
            mode: Mode::Ro,
            cols: remains.size.cols,
            rows: remains.size.rows,
            epoch: remains.id,
            seq: remains.seq,
        };
        sink.send(text(&hello)).await.map_err(unsent)?;
        if let Some(screen) = remains.screen {
            send_snapshot(&mut sink, remains.seq, screen).await?;
        }
        send_exit(&mut sink, remains.exit).await
    };
    let end = timeout(SCREEN_PATIENCE, sending).await;
    let end = end.map_or(None, |sent| sent.unwrap_or_else(|unsent| unsent));
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut sink, end)).await;
}

async fn send_snapshot(sink: &mut Sink, seq: u64, bytes: Bytes) -> Result<(), End> {
    let frame = ServerFrame::Snapshot {
        seq,
        bytes: bytes.len() as u64,
    };
    sink.feed(text(&frame)).await.map_err(unsent)?;
    sink.send(Message::binary(bytes)).await.map_err(unsent)
}

async fn send_exit(sink: &mut Sink, exit: Option<Exit>) -> Result<End, End> {
    let exit = exit.unwrap_or_default();
    if exit.code.is_none() && exit.signal.is_none() {
        return Ok(Some((close::BACKEND_GONE, "the session is lost")));
    }
    let frame = ServerFrame::Exit {
        code: exit.code,
        signal: exit.signal,
    };
    sink.send(text(&frame)).await.map_err(unsent)?;
    Ok(Some(EXITED))
}

fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
