//! The terminal WebSocket: binary frames are output and keyboard input, text frames are
//! [`ServerFrame`] and [`ClientFrame`].

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::{
    ClientFrame, MAX_MESSAGE_BYTES, Mode, ServerFrame, TerminalQuery, close,
};
use agentd_api::{Size, State};
use agentd_plugin_api::Capability;
use agentd_terminal::LARGEST_SNAPSHOT;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::ws::{Message, WebSocket, Ws};
use warp::{Filter, Reply};

use super::{Response, respond, with};
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::session::{Frame, Session, Snapshot, View, Viewer, parse_size};
use crate::{Error, ErrorKind, Result};

/// Bytes that wait for a slow connection inside the WebSocket, at most: the longest snapshot, and
/// what little may wait beside it.
const MAX_WRITE_BUFFER: usize = LARGEST_SNAPSHOT + 256 * 1024;

/// So much of what a viewer sends waits for the program, in bytes.
const MAX_WAITING: u32 = MAX_MESSAGE_BYTES as u32;

/// A message counts as so many bytes at least.
const MIN_SHARE: u32 = 64;

/// How long a viewer may take for the last frames.
const PATIENCE: Duration = Duration::from_secs(1);

/// GET /{collection}/{id}/terminal?mode=&seq=&epoch=&ack=&ticket=
pub(super) fn route<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "terminal"))
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(warp::header::headers_cloned())
        .and(warp::query())
        .and(warp::ws().map(Some).or(warp::any().map(|| None)).unify())
        .map(
            |id: String,
             daemon: Arc<Daemon>,
             collection: Arc<C>,
             headers: HeaderMap,
             query: TerminalQuery,
             ws: Option<Ws>| {
                let checked = daemon
                    .doors
                    .check_credentials(&headers, query.ticket.as_deref())
                    .and_then(|()| collection.session(&id));
                respond(checked.and_then(|session| upgrade(daemon, session, query, ws)))
            },
        )
        .boxed()
}

/// Opens the socket, or says why not before the upgrade.
fn upgrade(
    daemon: Arc<Daemon>,
    session: Arc<Session>,
    query: TerminalQuery,
    ws: Option<Ws>,
) -> Result<Response> {
    daemon
        .sessions
        .backend()
        .require(&Capability::Terminal, "no-terminal")?;
    let ws = ws.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "websocket-required",
            "this path is a WebSocket",
        )
    })?;
    let upgraded = ws
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .on_upgrade(|socket| serve(socket, session, daemon, query));
    Ok(upgraded.into_response())
}

async fn serve(
    socket: WebSocket,
    session: Arc<Session>,
    daemon: Arc<Daemon>,
    query: TerminalQuery,
) {
    let (mut sink, stream) = socket.split();
    let (queue, messages) = mpsc::unbounded_channel();
    let mut reading = pin!(read(stream, queue));
    // A viewer may leave before the session has started.
    tokio::select! {
        () = session.started() => {}
        end = &mut reading => {
            let _ = timeout(PATIENCE, close_with(&mut sink, end)).await;
            return;
        }
    }
    let interactive = daemon.sessions.backend().has(&Capability::Interactive);
    let viewer = Viewer::join(session.clone(), query.mode == Mode::Rw && interactive);
    let resumed = query
        .seq
        .filter(|_| query.epoch.as_deref() == Some(session.id.as_str()));
    let acknowledged = watch::Sender::new(0);
    let acknowledges = query.ack == Some(1);
    let view = View::open(
        session.clone(),
        resumed,
        acknowledges.then(|| acknowledged.subscribe()),
    );
    acknowledged.send_replace(view.cursor().seq);

    let (refusals, refused) = mpsc::channel(16);
    let end = tokio::select! {
        end = send(&mut sink, &session, view, &viewer, refused) => end,
        end = receive(reading, messages, &viewer, &acknowledged, refusals) => end,
        end = closed_from_here(&session, &daemon) => end,
    };
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut sink, end)).await;
}

/// Says why, or answers the viewer's own close.
async fn close_with(sink: &mut Sink, end: End) {
    if let Some((code, reason)) = end
        && sink.send(Message::close_with(code, reason)).await.is_err()
    {
        // The viewer closed first, and the answer to that is waiting to be sent.
        let _ = sink.close().await;
    }
}

/// Why the socket is closed; none when the connection is gone.
type End = Option<(u16, &'static str)>;

type Sink = SplitSink<WebSocket, Message>;

/// A viewer is shown the end that it is just being sent, if it takes it.
async fn closed_from_here(session: &Session, daemon: &Daemon) -> End {
    let end = tokio::select! {
        () = daemon.shutting_down() => (close::BACKEND_GONE, "the service is shutting down"),
        () = session.forgotten() => (close::DELETED, "the session was deleted"),
    };
    if session.record().state == State::Exited {
        tokio::time::sleep(PATIENCE).await;
    }
    Some(end)
}

async fn send(
    sink: &mut Sink,
    session: &Session,
    mut view: View,
    viewer: &Viewer,
    mut refused: mpsc::Receiver<Error>,
) -> End {
    let cursor = view.cursor();
    let hello = ServerFrame::Hello {
        session: session.name.to_string(),
        mode: if viewer.writes() { Mode::Rw } else { Mode::Ro },
        cols: cursor.size.cols,
        rows: cursor.size.rows,
        epoch: session.id.clone(),
        seq: cursor.seq,
    };
    sink.send(text(&hello)).await.ok()?;
    loop {
        let frame = tokio::select! {
            frame = view.next() => frame,
            Some(error) = refused.recv() => {
                let frame = ServerFrame::Error { code: error.code.into(), detail: error.message };
                sink.send(text(&frame)).await.ok()?;
                continue;
            }
        };
        let message = match frame {
            Frame::Output(bytes) => Message::binary(bytes),
            Frame::Resize(Size { cols, rows }) => text(&ServerFrame::Resize { cols, rows }),
            Frame::Snapshot(Snapshot { cursor, bytes, .. }) => {
                let frame = ServerFrame::Snapshot {
                    seq: cursor.seq,
                    bytes: bytes.len() as u64,
                };
                sink.feed(text(&frame)).await.ok()?;
                Message::binary(bytes)
            }
            Frame::End => return send_exit(sink, session).await,
        };
        sink.send(message).await.ok()?;
    }
}

async fn send_exit(sink: &mut Sink, session: &Session) -> End {
    let exit = session.record().exit.unwrap_or_default();
    if exit.code.is_none() && exit.signal.is_none() {
        return Some((close::BACKEND_GONE, "the session is lost"));
    }
    let frame = ServerFrame::Exit {
        code: exit.code,
        signal: exit.signal,
    };
    sink.send(text(&frame)).await.ok()?;
    if session.is_delete_requested() {
        return Some((close::DELETED, "the session was deleted"));
    }
    Some((close::EXITED, "the process exited"))
}

/// What a viewer has sent, with its share of what may wait.
type Waiting = (Message, OwnedSemaphorePermit);

/// Reads what the viewer sends, ahead of what the program takes: a viewer that leaves is noticed
/// while the program does not read. Up to [`MAX_WAITING`]; then neither is the socket read.
async fn read(mut stream: SplitStream<WebSocket>, queue: mpsc::UnboundedSender<Waiting>) -> End {
    let room = Arc::new(Semaphore::new(MAX_WAITING as usize));
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) if is_too_large(&error) => {
                return Some((close::TOO_LARGE, "the message is too large"));
            }
            Err(_) => return None,
        };
        if message.is_close() {
            return Some((close::NORMAL, ""));
        }
        let length = u32::try_from(message.as_bytes().len()).unwrap_or(MAX_WAITING);
        let share = length.clamp(MIN_SHARE, MAX_WAITING);
        let share = room.clone().acquire_many_owned(share).await.ok()?;
        queue.send((message, share)).ok()?;
    }
    None
}

/// Takes what is read, up to the end of the reading.
async fn receive(
    reading: impl Future<Output = End>,
    messages: mpsc::UnboundedReceiver<Waiting>,
    viewer: &Viewer,
    acknowledged: &watch::Sender<u64>,
    refusals: mpsc::Sender<Error>,
) -> End {
    let mut taking = pin!(take_all(messages, viewer, acknowledged, refusals));
    let end = tokio::select! {
        biased;
        end = reading => end,
        () = &mut taking => return None,
    };
    // What was typed before the viewer left is typed, if the program reads it.
    let _ = timeout(PATIENCE, taking).await;
    end
}

/// Ends with the queue, or when nobody is there to be notified of refusals.
async fn take_all(
    mut messages: mpsc::UnboundedReceiver<Waiting>,
    viewer: &Viewer,
    acknowledged: &watch::Sender<u64>,
    refusals: mpsc::Sender<Error>,
) {
    while let Some((message, _share)) = messages.recv().await {
        if let Err(error) = take(&message, viewer, acknowledged).await
            && refusals.send(error).await.is_err()
        {
            return;
        }
    }
}

async fn take(message: &Message, viewer: &Viewer, acknowledged: &watch::Sender<u64>) -> Result<()> {
    if message.is_binary() {
        if !viewer.writes() {
            return Err(Error::conflict("read-only", "this viewer may not type"));
        }
        return viewer.write(message.as_bytes()).await;
    }
    let Ok(text) = message.to_str() else {
        return Ok(());
    };
    match serde_json::from_str(text) {
        Ok(ClientFrame::Resize { cols, rows }) => viewer.set_window(parse_size(cols, rows)?).await,
        // Cumulative: an earlier position that arrives later says nothing new.
        Ok(ClientFrame::Ack { seq }) => {
            acknowledged.send_if_modified(|acknowledged| {
                let further = seq > *acknowledged;
                *acknowledged = seq.max(*acknowledged);
                further
            });
            Ok(())
        }
        Ok(ClientFrame::Unrecognised) => Ok(()),
        Err(error) => Err(Error::invalid(
            "invalid-frame",
            format!("no frame: {error}"),
        )),
    }
}

fn is_too_large(error: &warp::Error) -> bool {
    use tokio_tungstenite::tungstenite::Error;
    let source = std::error::Error::source(error);
    matches!(
        source.and_then(|source| source.downcast_ref()),
        Some(Error::Capacity(_))
    )
}

fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
