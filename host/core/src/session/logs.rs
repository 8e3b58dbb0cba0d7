use std::pin::Pin;
use std::sync::Arc;

use agentd_api::{LogLine, LogQuery, LogStream};
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, ErrorKind, PushStatus};
use agentd_terminal::Transcript;
use tokio::sync::mpsc;

use super::{Next, Session};
use crate::{Error, Result};

/// Lines on their way to a slow reader, at most.
const QUEUE: usize = 1024;

/// The lines of a log as they come; ends after the last one.
pub type Lines = mpsc::Receiver<LogLine>;

impl Session {
    /// The session's log. Structured lines come from the backend; without them what the backend
    /// can tell, and else the text of the output that is kept.
    pub async fn logs(self: &Arc<Self>, query: LogQuery) -> Result<Lines> {
        let since_ms = query.since.as_deref().map(parse_time).transpose()?;
        let (sender, lines) = mpsc::channel(QUEUE);
        let backend = &self.backend;
        let own_output = backend.has(&Capability::Terminal) && !backend.has(&Capability::Logs);
        if own_output {
            tokio::spawn(self.clone().send_output(query, sender));
            return Ok(lines);
        }
        let query = agentd_plugin_api::LogQuery {
            tail: query.tail,
            since_ms,
            follow: query.follow,
        };
        self.remote()?;
        let session = self.clone();
        tokio::spawn(async move {
            let Ok(remote) = session.remote() else { return };
            match remote.logs(&query, Arc::new(ToLines(sender))).await {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Unsupported => {}
                Err(error) => tracing::warn!(session = %session.name, %error, "no logs"),
            }
        });
        Ok(lines)
    }

    async fn send_output(self: Arc<Self>, query: LogQuery, sender: mpsc::Sender<LogLine>) {
        let mut changes = self.terminal.log().subscribe();
        let mut cursor = self.terminal.log().cursor(None);
        let mut transcript = Transcript::new();
        let mut history = Vec::new();
        let mut live = false;
        loop {
            let lines = match self.terminal.log().next(&mut cursor) {
                Next::Output(bytes) => transcript.advance(&bytes),
                Next::Resize(_) => continue,
                Next::Lost => {
                    cursor = self.terminal.log().cursor(None);
                    continue;
                }
                end @ (Next::Nothing | Next::Ended) => {
                    let done = end == Next::Ended || !query.follow;
                    if done {
                        history.extend(std::mem::take(&mut transcript).finish());
                    }
                    let tail = query
                        .tail
                        .map_or(usize::MAX, |tail| tail.try_into().unwrap_or(usize::MAX));
                    let skip = if live {
                        0
                    } else {
                        history.len().saturating_sub(tail)
                    };
                    live = true;
                    for line in history.drain(..).skip(skip) {
                        let line = LogLine {
                            ts: None,
                            stream: None,
                            line,
                        };
                        if sender.send(line).await.is_err() {
                            return;
                        }
                    }
                    if done {
                        return;
                    }
                    tokio::select! {
                        changed = changes.changed() => if changed.is_err() { return },
                        () = sender.closed() => return,
                        () = self.forgotten() => return,
                    }
                    continue;
                }
            };
            history.extend(lines);
        }
    }
}

/// RFC 3339 to milliseconds since 1970.
fn parse_time(time: &str) -> Result<i64> {
    let parsed: Result<jiff::Timestamp, _> = time.parse();
    parsed.map(|time| time.as_millisecond()).map_err(|_| {
        Error::invalid("invalid-since", format!("`{time}` is no time"))
            .hint("give `since` as RFC 3339, such as 2026-01-31T12:00:00Z")
    })
}

/// Takes a backend's lines.
struct ToLines(mpsc::Sender<LogLine>);

impl ToLines {
    fn status(&self) -> PushStatus {
        PushStatus {
            credit: self.0.capacity() as u64,
            closed: self.0.is_closed(),
        }
    }
}

impl Receiver for ToLines {
    fn push(&self, _: &[u8]) -> PushStatus {
        self.status()
    }

    fn message(&self, json: &str) -> PushStatus {
        match serde_json::from_str::<agentd_plugin_api::LogLine>(json) {
            Ok(line) => {
                let stream = line.stream.map(|stream| match stream {
                    agentd_plugin_api::LogStream::Stdout => LogStream::Stdout,
                    agentd_plugin_api::LogStream::Stderr => LogStream::Stderr,
                });
                let line = LogLine {
                    ts: line.ts,
                    stream,
                    line: line.line,
                };
                // Full only when the backend ignores its credit; the line is its to lose.
                let _ = self.0.try_send(line);
            }
            Err(error) => tracing::warn!(%error, "an unreadable log line"),
        }
        self.status()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let sender = self.0.clone();
        Box::pin(async move {
            let _ = sender.reserve().await;
        })
    }
}
