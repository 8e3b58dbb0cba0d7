//! The terminal WebSocket: binary frames are output and keyboard input, text frames are
//! [`ServerFrame`] and [`ClientFrame`].

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::{
    ClientFrame, MAX_MESSAGE_BYTES, Mode, ServerFrame, TerminalQuery, close,
};
use agentd_api::{Exit, Size, State};
use agentd_plugin_api::Capability;
use agentd_terminal::LARGEST_SNAPSHOT;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as Cause;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::ws::{Message, WebSocket, Ws};
use warp::{Filter, Reply};

use super::{Response, respond, with};
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::session::{Frame, Remains, Run, Session, Snapshot, View, Viewer, parse_size};
use crate::{Error, ErrorKind, Result};

/// Bytes that wait for a slow connection inside the WebSocket, at most: the longest snapshot, and
/// what little may wait beside it.
const MAX_WRITE_BUFFER: usize = LARGEST_SNAPSHOT + 256 * 1024;

/// So much of what a viewer sends waits for the program, in bytes.
const MAX_WAITING: u32 = MAX_MESSAGE_BYTES as u32;

/// A message counts as so many bytes at least.
const MIN_SHARE: u32 = 64;

/// How long a viewer may take for what is on its way to it and for the reason of the close.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the program may take for what a viewer typed before it left.
const LAST_INPUT: Duration = Duration::from_secs(1);

/// How long the exit of a session that is deleted may take to reach its viewers.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The same when the service ends, which waits less for its connections.
const SHUTDOWN_PATIENCE: Duration = Duration::from_millis(400);

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
        .then(
            async |id: String,
                   daemon: Arc<Daemon>,
                   collection: Arc<C>,
                   headers: HeaderMap,
                   query: TerminalQuery,
                   ws: Option<Ws>| {
                let upgraded = async {
                    let ticket = query.ticket.as_deref();
                    daemon.doors.check_credentials(&headers, ticket)?;
                    let run = collection.run(&id, None).await?;
                    upgrade(daemon, run, query, ws)
                };
                respond(upgraded.await)
            },
        )
        .boxed()
}

/// Opens the socket, or says why not before the upgrade.
fn upgrade(
    daemon: Arc<Daemon>,
    run: Run,
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
    let open = daemon.sockets.open();
    let upgraded = ws
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .on_upgrade(async move |socket| {
            match run {
                Run::Here(session) => serve(socket, session, daemon, query).await,
                Run::Kept(remains) => show(socket, *remains).await,
            }
            drop(open);
        });
    Ok(upgraded.into_response())
}

/// However it ends, the viewer is sent the reason, unless it left or does not take it.
async fn serve(
    socket: WebSocket,
    session: Arc<Session>,
    daemon: Arc<Daemon>,
    query: TerminalQuery,
) {
    let (mut sink, stream) = socket.split();
    let watched = AssertUnwindSafe(watch(&mut sink, stream, &session, &daemon, &query));
    let end = tokio::select! {
        end = watched.catch_unwind() => end.unwrap_or(INTERNAL),
        end = closed_from_here(&session, &daemon) => end,
    };
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut sink, end)).await;
}

/// Shows the session and takes what the viewer types, until one of the two ends.
async fn watch(
    sink: &mut Sink,
    stream: SplitStream<WebSocket>,
    session: &Arc<Session>,
    daemon: &Daemon,
    query: &TerminalQuery,
) -> End {
    let (queue, messages) = mpsc::unbounded_channel();
    let mut reading = pin!(read(stream, queue));
    // A viewer may leave before the session has started.
    tokio::select! {
        biased;
        () = session.started() => {}
        end = &mut reading => return end,
    }
    let interactive = daemon.sessions.backend().has(&Capability::Interactive);
    let viewer = Viewer::join(session.clone(), query.mode == Mode::Rw && interactive);
    let resumed = query
        .seq
        .filter(|_| query.epoch.as_deref() == Some(session.id.as_str()));
    let acknowledged = watch::Sender::new(0);
    let acknowledges = query.ack == Some(1);
    let acknowledgements = acknowledges.then(|| acknowledged.subscribe());
    let view = View::open(session.clone(), resumed, acknowledgements);
    let (refusals, refused) = mpsc::channel(16);
    let view = tokio::select! {
        view = view => view,
        end = &mut reading => {
            let taking = take_all(messages, &viewer, &acknowledged, refusals);
            let _ = timeout(LAST_INPUT, taking).await;
            return end;
        }
    };
    acknowledged.send_replace(view.cursor().seq);

    let mut receiving = pin!(receive(reading, messages, &viewer, &acknowledged, refusals));
    tokio::select! {
        sent = send(sink, session, view, &viewer, refused) => match sent {
            Ok(end) => end,
            Err(end) => {
                // The viewer has left; what it typed before that is still to be read.
                let _ = timeout(LAST_INPUT, receiving).await;
                end
            }
        },
        end = &mut receiving => end,
    }
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

/// How long a viewer of a session that is over may take to be sent its last screen.
const SCREEN_PATIENCE: Duration = Duration::from_secs(30);

const EXITED: (u16, &str) = (close::EXITED, "the process exited");
const DELETED: (u16, &str) = (close::DELETED, "the session was deleted");
const INTERNAL: End = Some((
    close::INTERNAL,
    "something went wrong inside of the service",
));

type Sink = SplitSink<WebSocket, Message>;

/// A viewer is shown the end that it is just being sent, if it takes it.
async fn closed_from_here(session: &Session, daemon: &Daemon) -> End {
    let (end, patience) = tokio::select! {
        () = daemon.shutting_down() => {
            ((close::BACKEND_GONE, "the service is shutting down"), SHUTDOWN_PATIENCE)
        }
        () = session.forgotten() => (DELETED, EXIT_PATIENCE),
    };
    if session.record().state == State::Exited {
        tokio::time::sleep(patience).await;
    }
    Some(end)
}

/// Sends what there is to see, to its end; or up to where it cannot be sent.
async fn send(
    sink: &mut Sink,
    session: &Session,
    mut view: View,
    viewer: &Viewer,
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
    loop {
        let frame = tokio::select! {
            frame = view.next() => frame,
            Some(error) = refused.recv() => {
                let frame = ServerFrame::Error { code: error.code.into(), detail: error.message };
                sink.send(text(&frame)).await.map_err(unsent)?;
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
                sink.feed(text(&frame)).await.map_err(unsent)?;
                Message::binary(bytes)
            }
            Frame::End => {
                let end = send_exit(sink, session.record().exit).await?;
                let is_deleted = session.is_delete_requested() && end == Some(EXITED);
                return Ok(if is_deleted { Some(DELETED) } else { end });
            }
        };
        sink.send(message).await.map_err(unsent)?;
    }
}

/// Shows a session that is over, and of which this was kept.
async fn show(socket: WebSocket, remains: Remains) {
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
            let frame = ServerFrame::Snapshot {
                seq: remains.seq,
                bytes: screen.len() as u64,
            };
            sink.feed(text(&frame)).await.map_err(unsent)?;
            sink.send(Message::binary(screen)).await.map_err(unsent)?;
        }
        send_exit(&mut sink, remains.exit).await
    };
    let end = timeout(SCREEN_PATIENCE, sending).await;
    let end = end.map_or(None, |sent| sent.unwrap_or_else(|unsent| unsent));
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut sink, end)).await;
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

/// What follows from a message that could not be sent.
fn unsent(error: warp::Error) -> End {
    match cause(&error) {
        Some(Cause::Io(_) | Cause::ConnectionClosed | Cause::AlreadyClosed) => None,
        _ => {
            tracing::error!(%error, "a message for a viewer could not be sent");
            INTERNAL
        }
    }
}

/// What follows from a message that could not be read (RFC 6455 §7.4.1).
fn unread(error: &warp::Error) -> End {
    match cause(error) {
        Some(Cause::Capacity(_)) => Some((close::TOO_LARGE, "the message is too large")),
        Some(Cause::Utf8(_)) => Some((close::NOT_TEXT, "the text is not UTF-8")),
        // The connection is gone.
        Some(Cause::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => None,
        Some(Cause::Protocol(_)) => Some((close::PROTOCOL, "not a WebSocket frame")),
        _ => None,
    }
}

fn cause(error: &warp::Error) -> Option<&Cause> {
    std::error::Error::source(error)?.downcast_ref()
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
            Err(error) => return unread(&error),
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
    let _ = timeout(LAST_INPUT, taking).await;
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

fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
