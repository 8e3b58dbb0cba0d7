//! The terminal WebSocket: binary frames are output and keyboard input, text frames are
//! [`ServerFrame`] and [`ClientFrame`].

mod inbox;

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
use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;

use self::inbox::Inbox;
use super::websocket::{Handshake, WebSocket, handshake};
use super::{Response, respond, with};
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::in_place::{self, run_in_place};
use crate::session::{Frame, Remains, Run, Session, Snapshot, View, Viewer, parse_size};
use crate::{Error, ErrorKind, Result};

/// Bytes that wait for a slow connection inside the WebSocket, at most: the longest snapshot, and
/// what little may wait beside it.
const MAX_WRITE_BUFFER: usize = LARGEST_SNAPSHOT + 256 * 1024;

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
        .and(handshake())
        .then(
            async |id: String,
                   daemon: Arc<Daemon>,
                   collection: Arc<C>,
                   headers: HeaderMap,
                   query: TerminalQuery,
                   handshake: Option<Handshake>| {
                let upgraded = async {
                    let ticket = query.ticket.as_deref();
                    daemon.doors.check_credentials(&headers, ticket)?;
                    let run = collection.run(&id, None).await?;
                    upgrade(daemon, run, query, handshake)
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
    handshake: Option<Handshake>,
) -> Result<Response> {
    daemon
        .sessions
        .backend()
        .require(&Capability::Terminal, "no-terminal")?;
    let handshake = handshake.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "websocket-required",
            "this path is a WebSocket",
        )
    })?;
    let open = daemon.sockets.open();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    Ok(handshake.agree(config, async move |socket| {
        match run {
            Run::Here(session) => serve(socket, session, daemon, query).await,
            Run::Kept(remains) => show(socket, *remains).await,
        }
        drop(open);
    }))
}

/// However it ends, the viewer is sent the reason, unless it left or does not take it.
async fn serve(
    socket: WebSocket,
    session: Arc<Session>,
    daemon: Arc<Daemon>,
    query: TerminalQuery,
) {
    let (sink, stream) = socket.split();
    let sink = Arc::new(Mutex::new(sink));
    let watched = AssertUnwindSafe(watch(&sink, stream, &session, &daemon, &query));
    let end = tokio::select! {
        end = watched.catch_unwind() => end.unwrap_or(INTERNAL),
        end = closed_from_here(&session, &daemon) => end,
    };
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut *sink.lock().await, end)).await;
}

/// Shows the session and takes what the viewer types, until one of the two ends.
async fn watch(
    sink: &Arc<Mutex<Sink>>,
    stream: SplitStream<WebSocket>,
    session: &Arc<Session>,
    daemon: &Daemon,
    query: &TerminalQuery,
) -> End {
    let mut inbox = Inbox::new(stream);
    // A viewer may leave before the session has started.
    tokio::select! {
        biased;
        () = session.started() => {}
        end = inbox.read() => return end,
    }
    let interactive = daemon.sessions.backend().has(&Capability::Interactive);
    let viewer = Viewer::join(session.clone(), query.mode == Mode::Rw && interactive);
    let viewer = Arc::new(viewer);
    let resumed = query
        .seq
        .filter(|_| query.epoch.as_deref() == Some(session.id.as_str()));
    let acknowledged = watch::Sender::new(0);
    let acknowledges = query.ack == Some(1);
    let acknowledgements = acknowledges.then(|| acknowledged.subscribe());
    // What is typed meanwhile is taken afterwards, so that its echo comes after the snapshot.
    let opened = tokio::select! {
        view = View::open(session.clone(), resumed, acknowledgements) => Ok(view),
        end = inbox.read() => Err(end),
    };
    let left = opened.as_ref().err().copied();
    let (refusals, refused) = mpsc::channel(16);
    let mut receiving = pin!(receive(inbox, left, &viewer, &acknowledged, refusals));
    let Ok(view) = opened else {
        return receiving.await;
    };
    acknowledged.send_replace(view.cursor().seq);
    let sink = sink.clone().lock_owned().await;
    let sending = send(sink, session.clone(), view, viewer.clone(), refused);
    tokio::select! {
        sent = run_in_place(sending) => match sent {
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
        && sink.send(closing(code, reason)).await.is_err()
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
                let frame = ServerFrame::Snapshot {
                    seq: cursor.seq,
                    bytes: bytes.len() as u64,
                };
                sink.feed(text(&frame)).await.map_err(unsent)?;
                Message::binary(bytes)
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
fn unsent(error: tungstenite::Error) -> End {
    use tungstenite::Error::{AlreadyClosed, ConnectionClosed, Io};
    match error {
        Io(_) | ConnectionClosed | AlreadyClosed => None,
        _ => {
            tracing::error!(%error, "a message for a viewer could not be sent");
            INTERNAL
        }
    }
}

/// Takes what is read, up to the end of the reading; `left` where that has come already.
///
/// Reading and taking have no channel between them: one that wakes its own task wakes another
/// thread of the runtime as well, and a key's echo has to wait for that.
async fn receive(
    mut inbox: Inbox,
    left: Option<End>,
    viewer: &Viewer,
    acknowledged: &watch::Sender<u64>,
    refusals: mpsc::Sender<Error>,
) -> End {
    let take = async |message: Message| {
        if let Err(error) = take(&message, viewer, acknowledged).await {
            // Nobody is there to be notified when the sending has ended.
            let _ = refusals.send(error).await;
        }
    };
    let mut taking = pin!(Fuse::terminated());
    let end = loop {
        if let Some(end) = left {
            break end;
        }
        if taking.is_terminated()
            && let Some(message) = inbox.pop()
        {
            taking.set(take(message).fuse());
        }
        tokio::select! {
            biased;
            end = inbox.read_one() => if let Some(end) = end {
                break end;
            },
            () = &mut taking, if !taking.is_terminated() => {}
        }
    };
    // What was typed before the viewer left is typed, if the program reads it.
    let rest = async {
        if !taking.is_terminated() {
            taking.await;
        }
        while let Some(message) = inbox.pop() {
            take(message).await;
        }
    };
    let _ = timeout(LAST_INPUT, rest).await;
    end
}

async fn take(message: &Message, viewer: &Viewer, acknowledged: &watch::Sender<u64>) -> Result<()> {
    let text = match message {
        Message::Binary(_) if !viewer.writes() => {
            return Err(Error::conflict("read-only", "this viewer may not type"));
        }
        Message::Binary(input) => return viewer.write(input).await,
        Message::Text(text) => text,
        _ => return Ok(()),
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

fn closing(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }))
}

fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
