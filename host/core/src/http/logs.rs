use std::convert::Infallible;
use std::sync::Arc;

use agentd_api::{LogLine, LogQuery};
use bytes::Bytes;
use futures_util::{Stream, stream};
use warp::Reply;
use warp::http::header::{CONTENT_TYPE, HeaderValue};

use super::Response;
use crate::daemon::Daemon;
use crate::session::Run;
use crate::{ErrorKind, Result};

/// The answer to `GET …/logs`: NDJSON, a line at a time.
pub async fn logs(daemon: Arc<Daemon>, run: Run, query: LogQuery) -> Result<Response> {
    let session = match run {
        Run::Here(session) => session,
        Run::Kept(remains) => {
            let lines = remains.log(&query)?.into_iter().map(Ok::<_, Infallible>);
            return Ok(answer(stream::iter(lines)));
        }
    };
    let lines = match session.logs(query).await {
        Ok(lines) => Some(lines),
        // Nothing of the log is known now.
        Err(error) if error.kind == ErrorKind::Unavailable => None,
        Err(error) => return Err(error),
    };
    let stream = stream::unfold((lines, daemon), async |(mut lines, daemon)| {
        let line = tokio::select! {
            line = async { lines.as_mut()?.recv().await } => line?,
            () = daemon.shutting_down() => return None,
        };
        Some((Ok::<_, Infallible>(ndjson(&line)), (lines, daemon)))
    });
    Ok(answer(stream))
}

fn answer(
    lines: impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync + 'static,
) -> Response {
    let mut reply = warp::reply::stream(lines).into_response();
    reply.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    reply
}

fn ndjson(line: &LogLine) -> Bytes {
    let mut json = serde_json::to_vec(line).unwrap_or_default();
    json.push(b'\n');
    json.into()
}
