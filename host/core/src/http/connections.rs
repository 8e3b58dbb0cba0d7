use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::either::Either;
use warp::filters::BoxedFilter;

use super::timely::{Late, Timely};
use super::websocket::keep_connection;
use super::{Response, guarded, problem};
use crate::config::SocketAuth;
use crate::doors::Peer;
use crate::socket_file::SocketFile;
use crate::{Error, ErrorKind};

/// How long to wait before the next accept(2) when one failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(SocketFile, SocketAuth),
}

/// This service's end of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Local(pub SocketAddr);

/// What is known of a connection.
#[derive(Clone, Copy)]
enum End {
    Tcp(Local),
    Unix(Peer),
    Gone,
}

/// Serves every connection to `listener` until `stopped` is true, and returns once the open ones
/// have ended. A connection is closed when the head of its next request, or of its first, has not
/// come for `patience`, and a request is refused whose body has not come so long after its head.
///
/// An error of a connection is the client's: it went away, or what it sent is not HTTP. So it is
/// logged as `debug`; warp's own server logs it as an error.
pub async fn serve_connections(
    listener: Listener,
    routes: BoxedFilter<(Response,)>,
    patience: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience);
    let (open, mut closed) = mpsc::channel::<Infallible>(1);
    loop {
        let (stream, end) = tokio::select! {
            accepted = accept(&listener) => accepted,
            // An error means that the sender is gone, which is an end too.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let routes = TowerToHyperService::new(warp::service(routes.clone()));
        let service = service_fn(move |mut request| {
            keep_connection(&mut request);
            match end {
                End::Tcp(local) => drop(request.extensions_mut().insert(local)),
                End::Unix(peer) => drop(request.extensions_mut().insert(peer)),
                End::Gone => {}
            }
            let late = Late::default();
            let answer = routes.call(request.map(|body| Timely::new(body, patience, late.clone())));
            async move {
                let answer = answer.await;
                match late.get() {
                    true => Ok(guarded(problem::reply(&overdue(patience)))),
                    false => answer,
                }
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = connection.with_upgrades();
        let (open, mut stopped) = (open.clone(), stopped.clone());
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = stop => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(open);
        });
    }
    drop(listener);
    drop(open);
    // Nothing is ever sent: this waits until all connections have dropped their end.
    closed.recv().await;
}

fn overdue(patience: Duration) -> Error {
    let message = format!("the request's body has not come within {patience:?}");
    Error::new(ErrorKind::Timeout, "timeout", message)
}

async fn accept(listener: &Listener) -> (Either<TcpStream, UnixStream>, End) {
    loop {
        let accepted = match listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // Unknown only when the client has left already.
                let local = stream
                    .local_addr()
                    .map_or(End::Gone, |at| End::Tcp(Local(at)));
                (Either::Left(stream), local)
            }),
            Listener::Unix(file, auth) => file.accept().await.map(|stream| {
                let peer = peer(&stream, *auth);
                (Either::Right(stream), End::Unix(peer))
            }),
        };
        match accepted {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The kernel knows who made the connection, whoever uses it now (unix(7), `SO_PEERCRED`).
fn peer(stream: &UnixStream, auth: SocketAuth) -> Peer {
    let own = rustix::process::geteuid().as_raw();
    let is_own = |user: u32| user == 0 || user == own;
    let user = stream.peer_cred().map(|peer| peer.uid());
    Peer {
        is_trusted: auth == SocketAuth::Peer && user.is_ok_and(is_own),
    }
}

/// Whether the connection ended before it was accepted (accept(2)).
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | TimedOut)
}
