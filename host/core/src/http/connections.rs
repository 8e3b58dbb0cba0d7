use std::io;
use std::time::Duration;

use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use warp::filters::BoxedFilter;

use super::Response;
use super::websocket::keep_connection;

/// How long a client may take for the head of a request, and a connection may wait for its next
/// one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long to wait before the next accept(2) when one failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves every connection to `listener` until `stopped` is true, and returns once the open ones
/// have ended.
///
/// An error of a connection is the client's: it went away, or what it sent is not HTTP. So it is
/// logged as `debug`; warp's own server logs it as an error.
pub async fn serve_connections(
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    mut stopped: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            // An error means that the sender is gone, which is an end too.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let routes = TowerToHyperService::new(warp::service(routes.clone()));
        let service = service_fn(move |mut request| {
            keep_connection(&mut request);
            routes.call(request)
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection ended early");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the connection ended before it was accepted (accept(2)).
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | TimedOut)
}
