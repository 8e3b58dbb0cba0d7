use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{LogLine, LogQuery, LogStream};
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{ErrorKind, PushStatus};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::newest::Newest;
use super::reader::{Read, Reader};
use super::{CLOSED, Session, Terminal};
use crate::{Error, Result};

/// Lines on their way to a slow reader, at most.
pub(super) const QUEUE: usize = 1024;

/// How long the last lines of a forgotten session may take to be sent.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How long a backend may take to give the last lines that there are now.
const NOW: Duration = Duration::from_secs(5);

/// The lines of a log as they come; ends after the last one.
pub type Lines = mpsc::Receiver<LogLine>;

impl Session {
    /// The session's log. Structured lines come from the backend; without them what the backend
    /// has them, and else the text of the output that is kept.
    ///
    /// Whoever drops the lines ends what reads them, also inside of the backend.
    pub async fn logs(self: &Arc<Self>, query: LogQuery) -> Result<Lines> {
        let since_ms = query.since.as_deref().map(parse_time).transpose()?;
        let (sender, lines) = mpsc::channel(QUEUE);
        let session = self.clone();
        if self.has_own_output() {
            tokio::spawn(async move {
                let sent = send_output(&session.terminal, &query, &sender);
                session.while_wanted(&sender, sent).await;
            });
            return Ok(lines);
        }
        let query = agentd_plugin_api::LogQuery {
            tail: query.tail,
            since_ms,
            follow: query.follow,
            preview: false,
        };
        self.remote()?;
        tokio::spawn(async move {
            let sent = session.send_remote(&query, sender.clone());
            session.while_wanted(&sender, sent).await;
        });
        Ok(lines)
    }

    /// The last lines that the backend has, and what comes: single lines, or all that are to be seen
    /// now; see [`agentd_plugin_api::LogQuery::preview`].
    pub fn preview(self: &Arc<Self>, tail: u64) -> Result<Lines> {
        let query = agentd_plugin_api::LogQuery {
            tail: Some(tail),
            since_ms: None,
            follow: true,
            preview: true,
        };
        let (sender, lines) = mpsc::channel(QUEUE);
        let remote = self.remote()?;
        let session = self.clone();
        tokio::spawn(async move {
            let sink = Arc::new(ToLines(sender.downgrade()));
            let sent = async {
                // Nobody asked for it by name; who does is notified of a failure.
                if let Err(error) = remote.logs(&query, sink).await {
                    tracing::debug!(session = %session.name, %error, "no last lines");
                }
            };
            session.while_wanted(&sender, sent).await;
        });
        Ok(lines)
    }

    /// The last lines that the backend has now; none where it has no lines at all.
    pub(super) async fn last_lines(&self, tail: u64) -> Result<Vec<String>> {
        let query = agentd_plugin_api::LogQuery {
            tail: Some(tail),
            ..agentd_plugin_api::LogQuery::default()
        };
        let remote = self.remote()?;
        let (sender, mut lines) = mpsc::channel(QUEUE);
        let sent = remote.logs(&query, Arc::new(ToLines(sender.downgrade())));
        match timeout(NOW, sent).await {
            Ok(Err(error)) if error.kind != ErrorKind::Unsupported => return Err(error.into()),
            Ok(_) => {}
            Err(_) => {
                let message = "the backend does not give the last lines";
                return Err(Error::unavailable("backend-unavailable", message));
            }
        }
        drop(sender);
        let mut last = Vec::new();
        while let Some(line) = lines.recv().await {
            last.push(line.line);
        }
        Ok(last)
    }

    pub(super) async fn send_remote(
        &self,
        query: &agentd_plugin_api::LogQuery,
        sender: mpsc::Sender<LogLine>,
    ) {
        let Ok(remote) = self.remote() else { return };
        match remote
            .logs(query, Arc::new(ToLines(sender.downgrade())))
            .await
        {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Unsupported => {}
            Err(error) => tracing::warn!(session = %self.name, %error, "no logs"),
        }
    }

    /// Drops `sending` when the reader has left or the session is forgotten.
    async fn while_wanted(&self, sender: &mpsc::Sender<LogLine>, sending: impl Future) {
        let forgotten = async {
            self.forgotten().await;
            sleep(LAST_LINES).await;
        };
        tokio::select! {
            _ = sending => {}
            () = sender.closed() => {}
            () = forgotten => {}
        }
    }
}

/// Sends the lines of a terminal's output: those that are there now, and with `follow` those that
/// come until the end.
pub(super) async fn send_output(
    terminal: &Terminal,
    query: &LogQuery,
    sender: &mpsc::Sender<LogLine>,
) {
    let log = terminal.log();
    let mut changes = log.subscribe();
    let mut reader = Reader::new(terminal);
    // Looked at before the head, which no longer moves then.
    let is_last = log.has_ended() || !query.follow;
    let head = log.head();
    match query.tail {
        Some(tail) => {
            let tail = usize::try_from(tail).unwrap_or(usize::MAX);
            let mut last = Newest::new(tail, log.capacity());
            while let Read::Lines(lines) = reader.read(head).await {
                if sender.is_closed() {
                    return;
                }
                last.extend(lines);
            }
            last.extend(match is_last {
                true => reader.finish(),
                false => reader.settle(),
            });
            if !send(sender, last.into_lines()).await {
                return;
            }
        }
        None => {
            while let Read::Lines(lines) = reader.read(head).await {
                if !send(sender, lines).await {
                    return;
                }
            }
            if is_last {
                send(sender, reader.finish()).await;
            }
        }
    }
    if is_last {
        return;
    }
    loop {
        match reader.read(u64::MAX).await {
            Read::Lines(lines) => {
                if !send(sender, lines).await {
                    return;
                }
            }
            Read::Nothing => {
                if !send(sender, reader.settle()).await {
                    return;
                }
                // The sender of the changes lives as long as the log.
                let _ = changes.changed().await;
            }
            Read::Ended => {
                send(sender, reader.finish()).await;
                return;
            }
        }
    }
}

/// False when nobody reads any more.
async fn send(sender: &mpsc::Sender<LogLine>, lines: impl IntoIterator<Item = String>) -> bool {
    for line in lines {
        let line = LogLine {
            ts: None,
            stream: None,
            line,
        };
        if sender.send(line).await.is_err() {
            return false;
        }
    }
    !sender.is_closed()
}

/// RFC 3339 to milliseconds since 1970.
pub(super) fn parse_time(time: &str) -> Result<i64> {
    let parsed: Result<jiff::Timestamp, _> = time.parse();
    parsed.map(|time| time.as_millisecond()).map_err(|_| {
        Error::invalid("invalid-since", format!("`{time}` is not a time"))
            .hint("give `since` as RFC 3339, such as 2026-01-31T12:00:00Z")
    })
}

/// Takes a backend's lines, until its call has returned: a backend that keeps this does not keep
/// the reader.
struct ToLines(mpsc::WeakSender<LogLine>);

impl ToLines {
    fn status(&self) -> PushStatus {
        match self.0.upgrade() {
            Some(sender) => PushStatus {
                credit: sender.capacity() as u64,
                closed: sender.is_closed(),
            },
            None => CLOSED,
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
                    // None rather than one that no client can read.
                    ts: line.ts.filter(|ts| parse_time(ts).is_ok()),
                    stream,
                    line: line.line,
                };
                // Full only when the backend ignores its credit; the line is its to lose.
                if let Some(sender) = self.0.upgrade() {
                    let _ = sender.try_send(line);
                }
            }
            Err(error) => tracing::warn!(%error, "an unreadable log line"),
        }
        self.status()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let sender = self.0.upgrade();
        Box::pin(async move {
            if let Some(sender) = sender {
                let _ = sender.reserve().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use agentd_api::Size;

    use super::*;
    use crate::session::reader::STEP;

    const LINE: &[u8] = b"0123456789\r\n";

    fn terminal(lines: usize) -> Terminal {
        let terminal = Terminal::new(Size { cols: 80, rows: 24 }, 1 << 20);
        terminal.push(&LINE.repeat(lines));
        terminal
    }

    fn query(tail: Option<u64>) -> LogQuery {
        LogQuery {
            tail,
            ..LogQuery::default()
        }
    }

    /// Counts how often somebody else had a turn while `future` ran.
    async fn turns_beside(future: impl Future, mut at_turn: impl FnMut(usize)) -> usize {
        let turns = AtomicUsize::new(0);
        let others = async {
            loop {
                at_turn(turns.fetch_add(1, Ordering::Relaxed));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = future => {}
            () = others => {}
        }
        turns.into_inner()
    }

    #[tokio::test]
    async fn a_log_ends_at_the_head_of_the_moment_in_which_it_was_asked_for() {
        for tail in [None, Some(20_000)] {
            let terminal = terminal(10_000);
            let (sender, mut lines) = mpsc::channel(100_000);
            let query = query(tail);
            let sending = send_output(&terminal, &query, &sender);
            // The program goes on writing, as fast as it is read.
            turns_beside(sending, |_| terminal.push(&LINE.repeat(1000))).await;
            drop(sender);
            let mut count = 0;
            while lines.recv().await.is_some() {
                count += 1;
            }
            assert_eq!(count, 10_000);
        }
    }

    #[tokio::test]
    async fn a_long_log_lets_others_have_their_turn() {
        let terminal = terminal(40_000);
        let (sender, mut lines) = mpsc::channel(100);
        let query = query(Some(5));
        let turns = turns_beside(send_output(&terminal, &query, &sender), |_| {}).await;
        assert!(turns >= 40_000 * LINE.len() / STEP, "{turns} turns");
        drop(sender);
        let mut count = 0;
        while let Some(line) = lines.recv().await {
            assert_eq!(line.line, "0123456789");
            count += 1;
        }
        assert_eq!(count, 5);
    }

    /// Seven bytes complete all lines of the screen each time.
    #[tokio::test]
    async fn a_few_bytes_that_make_many_lines_do_not_take_memory_without_bound() {
        let terminal = Terminal::new(
            Size {
                cols: 500,
                rows: 500,
            },
            0,
        );
        let sequence = b"\x1b#8\x1b[2J";
        terminal.push(&sequence.repeat(20));
        let capacity = terminal.log().capacity() as usize;
        assert!(20 * 500 * 500 > 8 * capacity);
        let (sender, mut lines) = mpsc::channel(10_000);
        send_output(&terminal, &query(Some(u64::MAX)), &sender).await;
        drop(sender);
        let mut bytes = 0;
        while let Some(line) = lines.recv().await {
            bytes += line.line.len();
        }
        assert!(bytes > capacity && bytes <= 4 * capacity, "{bytes}");
    }

    #[tokio::test]
    async fn nothing_is_read_for_a_reader_that_has_left() {
        for tail in [None, Some(5)] {
            let terminal = terminal(40_000);
            let (sender, lines) = mpsc::channel(100);
            let mut lines = Some(lines);
            let query = query(tail);
            let sending = send_output(&terminal, &query, &sender);
            let turns = turns_beside(sending, |turn| {
                if turn == 2 {
                    lines = None;
                }
            })
            .await;
            assert!(turns < 10, "{turns} turns");
        }
    }

    #[tokio::test]
    async fn a_follower_gets_the_last_line_when_the_log_ends() {
        let terminal = terminal(3);
        let (sender, mut lines) = mpsc::channel(100);
        let query = LogQuery {
            tail: Some(1),
            follow: true,
            ..LogQuery::default()
        };
        let sending = send_output(&terminal, &query, &sender);
        turns_beside(sending, |turn| match turn {
            5 => terminal.push(b"one\r\nno end"),
            9 => terminal.log().end(),
            _ => {}
        })
        .await;
        drop(sender);
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line.line);
        }
        assert_eq!(all, ["0123456789", "one", "no end"]);
    }
}
