//! The terminal WebSocket: binary frames are output and keyboard input, text frames are
//! [`ServerFrame`] and [`ClientFrame`].

mod end;
mod inbox;
mod input;
mod output;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::terminal::{Mode, TerminalQuery, close};
use agentd_api::{Scope, State};
use agentd_plugin_api::Capability;
use agentd_terminal::LARGEST_SNAPSHOT;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::path::FullPath;

use self::end::{DELETED, End, INTERNAL, NOT_ALLOWED, PATIENCE, Sink, close_with};
use self::inbox::Inbox;
use self::input::{LAST_INPUT, receive};
use self::output::{send, show};
use super::admission::COME_AGAIN;
use super::websocket::{Handshake, WebSocket, handshake};
use super::{Allowed, Response, credentials, respond, with};
use crate::audit::Noted;
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::doors::Pass;
use crate::in_place::run_in_place;
use crate::session::{Run, Session, View, Viewer};
use crate::{Error, ErrorKind, Result};

/// Bytes that wait for a slow connection inside the WebSocket, at most: the longest snapshot, and
/// what little may wait beside it.
const MAX_WRITE_BUFFER: usize = LARGEST_SNAPSHOT + 256 * 1024;

/// How long the exit of a session that is deleted may take to reach its viewers.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The same when the service ends, which waits less for its connections.
const SHUTDOWN_PATIENCE: Duration = Duration::from_millis(400);

/// GET /{collection}/{id}/terminal?mode=&seq=&epoch=&ack=&ticket=&session=
pub(super) fn route<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "terminal"))
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(credentials())
        .and(warp::path::full())
        .and(warp::query())
        .and(handshake())
        .then(
            async |id: String,
                   daemon: Arc<Daemon>,
                   collection: Arc<C>,
                   pass: Result<Pass>,
                   path: FullPath,
                   mut query: TerminalQuery,
                   handshake: Option<Handshake>| {
                let upgraded = async {
                    let by_ticket = || daemon.doors.use_ticket(query.ticket.as_deref()?);
                    let pass = pass.or_else(|error| by_ticket().ok_or(error))?;
                    if pass.scope() < Scope::Write {
                        query.mode = Mode::Ro;
                    }
                    let path = path.as_str();
                    let allowed = Allowed::check(pass, collection.clone(), &Method::GET, path);
                    let allowed = allowed.await?;
                    let run = collection.run(&id, query.session.as_deref()).await?;
                    upgrade(daemon, &id, run, query, handshake, allowed.lasting())
                };
                respond(upgraded.await)
            },
        )
        .boxed()
}

/// Opens the socket, or says why not before the upgrade.
fn upgrade(
    daemon: Arc<Daemon>,
    id: &str,
    run: Run,
    query: TerminalQuery,
    handshake: Option<Handshake>,
    pass: Pass,
) -> Result<Response> {
    run.require_terminal()?;
    let handshake = handshake.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "websocket-required",
            "this path is a WebSocket",
        )
    })?;
    let limits = &daemon.limits;
    let open = daemon.sockets.open(id, limits.max_viewers).ok_or_else(|| {
        Error::unavailable("too-many-viewers", "too many watch this terminal")
            .hint("come again later, or raise AGENTD_MAX_VIEWERS")
            .retry_after(COME_AGAIN)
    })?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.max_frame_bytes))
        .max_frame_size(Some(limits.max_frame_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    let noted = Noted {
        who: Some(pass.who()),
        mode: Some(query.mode),
        ..Noted::default()
    };
    let mut answer = handshake.agree(config, async move |socket| {
        match run {
            Run::Here(session) => serve(socket, session, daemon, query, pass).await,
            Run::Kept(remains) => show(socket, *remains).await,
        }
        drop(open);
    });
    answer.extensions_mut().insert(noted);
    Ok(answer)
}

/// However it ends, the viewer is sent the reason, unless it left or does not take it.
async fn serve(
    socket: WebSocket,
    session: Arc<Session>,
    daemon: Arc<Daemon>,
    query: TerminalQuery,
    pass: Pass,
) {
    let (sink, stream) = socket.split();
    let sink = Arc::new(Mutex::new(sink));
    let watched = AssertUnwindSafe(watch(&sink, stream, &session, &query));
    let end = tokio::select! {
        end = watched.catch_unwind() => end.unwrap_or(INTERNAL),
        end = closed_from_here(&session, &daemon) => end,
        () = pass.withdrawn() => NOT_ALLOWED,
    };
    // Fails when the viewer has gone.
    let _ = timeout(PATIENCE, close_with(&mut *sink.lock().await, end)).await;
}

/// Shows the session and takes what the viewer types, until one of the two ends.
async fn watch(
    sink: &Arc<Mutex<Sink>>,
    stream: SplitStream<WebSocket>,
    session: &Arc<Session>,
    query: &TerminalQuery,
) -> End {
    let mut inbox = Inbox::new(stream);
    // A viewer may leave before the session has started.
    tokio::select! {
        biased;
        () = session.started() => {}
        end = inbox.read() => return end,
    }
    let interactive = session.backend().has(&Capability::Interactive);
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
