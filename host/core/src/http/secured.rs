//! Connections as they come: plain ones, and those that become ones of TLS first.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tokio_util::either::Either;

use super::patient::Patient;

/// A connection that was accepted.
pub type Stream = Either<TcpStream, UnixStream>;

/// What is said over one. The state of TLS is large, and most connections of a service have none.
pub type Secured = Either<Patient<Stream>, Box<TlsStream<Patient<Stream>>>>;

/// The first byte of every connection of TLS (RFC 8446, section 5.1: a handshake's record).
const HANDSHAKE: u8 = 22;

/// Whether a client that is to begin with TLS begins in some other way, such as with plain HTTP. An
/// error is that it does not begin in time, or has left.
pub async fn is_plain(stream: &Stream, patience: Duration) -> io::Result<bool> {
    let Either::Left(stream) = stream else {
        return Ok(false);
    };
    let mut first = [0];
    match timeout(patience, stream.peek(&mut first)).await?? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0] != HANDSHAKE),
    }
}

/// A connection of TLS, if its client takes part in time. Its `turn` is waited for when the client has asked, and
/// before that costs any work.
pub async fn secure(
    stream: Patient<Stream>,
    tls: &TlsAcceptor,
    turn: impl Future<Output = ()>,
    patience: Duration,
) -> io::Result<Secured> {
    let comes_about = async {
        let asked = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        turn.await;
        asked.into_stream(tls.config().clone()).await
    };
    let stream = timeout(patience, comes_about).await??;
    Ok(Either::Right(Box::new(stream)))
}
