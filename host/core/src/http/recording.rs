use std::io;
use std::sync::Arc;

use futures_util::stream;
use warp::Reply;
use warp::http::header::{CONTENT_TYPE, HeaderValue};

use super::Response;
use crate::Result;
use crate::daemon::Daemon;

/// The answer to `GET …/recording`: an asciicast, as far as it was written by now.
pub async fn recording(daemon: Arc<Daemon>, key: &str, session: &str) -> Result<Response> {
    let cast = daemon.sessions.recording(key, session).await?;
    let pieces = stream::unfold((cast, daemon), async |(mut cast, daemon)| {
        let piece = tokio::select! {
            piece = cast.next() => piece?,
            // Who reads it learns that it is not whole.
            () = daemon.shutting_down() => Err(io::Error::other("the service is shutting down")),
        };
        Some((piece, (cast, daemon)))
    });
    let mut reply = warp::reply::stream(pieces).into_response();
    reply.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-asciicast"),
    );
    Ok(reply)
}
