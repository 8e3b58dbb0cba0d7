use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{Exit, LogLine, LogQuery, Size};
use agentd_plugin_api::Capability;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Session;
use super::logs::{QUEUE, send_output};
use crate::{Error, Result};

/// How long the log of a session that is being ended is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The least that a line takes as JSON, in bytes.
const SHORTEST_LINE: usize = 36;

/// What can still be read of a session that has ended.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The session's id.
    pub id: String,
    /// The session's name.
    pub name: String,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The last lines of its log, NDJSON.
    pub lines: Bytes,
    /// The size of its terminal.
    pub size: Size,
    /// The position after the last byte of its output.
    pub seq: u64,
    /// What brings a fresh terminal to the last state of its own, where it had one.
    pub screen: Option<Bytes>,
}

/// One run of an agent, which may be over.
#[derive(Clone, Debug)]
pub enum Run {
    /// The service has the session.
    Here(Arc<Session>),
    /// The session is gone, and this was kept.
    Kept(Box<Remains>),
}

impl Run {
    /// Refuses to show what has no terminal.
    pub fn require_terminal(&self) -> Result<()> {
        match self {
            Run::Here(session) => session
                .backend
                .require(&Capability::Terminal, "no-terminal"),
            Run::Kept(remains) if remains.screen.is_some() => Ok(()),
            Run::Kept(_) => Err(Error::conflict(
                "no-terminal",
                "no screen of that session was kept",
            )
            .hint("its logs may say more")),
        }
    }
}

/// What ends a session.
pub type End<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

impl Session {
    /// Whether the session's output comes here, byte for byte.
    pub fn has_terminal(&self) -> bool {
        self.backend.has(&Capability::Terminal)
    }

    /// Whether the session's output can be read from here after its end, whatever the backend has.
    pub fn has_own_output(&self) -> bool {
        let backend = &self.backend;
        backend.has(&Capability::Terminal) && !backend.has(&Capability::Logs)
    }

    /// What can be read of it now, of which `limit` bytes at most are kept.
    pub async fn remains(self: &Arc<Self>, limit: usize) -> Remains {
        let screen = self.snapshot().await.map(|snapshot| snapshot.bytes);
        let screen = screen.filter(|screen| screen.len() <= limit / 2);
        let taken = screen.as_ref().map_or(0, Bytes::len);
        let mut lines = LastLines::new(limit - taken);
        if self.has_own_output() {
            let terminal = &self.terminal;
            let query = LogQuery::default();
            lines
                .take(|sender| async move { send_output(terminal, &query, &sender).await })
                .await;
        } else {
            // A backend that does not answer keeps nobody from going on.
            let _ = timeout(PATIENCE, self.read_remote(false, &mut lines)).await;
        }
        self.made_of(lines, screen)
    }

    /// The same, of a session that is being ended, and whose log ends with it.
    pub async fn remains_after(self: &Arc<Self>, end: End<'_>, limit: usize) -> Result<Remains> {
        if self.has_own_output() {
            end.await?;
            return Ok(self.remains(limit).await);
        }
        let before = self.remains(limit).await;
        let mut lines = LastLines::new(limit);
        {
            // Polled first, so that the backend knows of the reader when it is asked for the end.
            let mut reading = pin!(self.read_remote(true, &mut lines));
            let mut end = end;
            tokio::select! {
                biased;
                () = &mut reading => end.await?,
                ended = &mut end => {
                    ended?;
                    let _ = timeout(PATIENCE, reading).await;
                }
            }
        }
        let after = self.made_of(lines, None);
        Ok(match after.lines.len() < before.lines.len() {
            true => Remains {
                exit: after.exit,
                ..before
            },
            false => after,
        })
    }

    async fn read_remote(self: &Arc<Self>, follow: bool, lines: &mut LastLines) {
        let tail = (lines.room / SHORTEST_LINE) as u64;
        let query = agentd_plugin_api::LogQuery {
            tail: Some(tail),
            follow,
            ..agentd_plugin_api::LogQuery::default()
        };
        lines
            .take(|sender| async move { self.send_remote(&query, sender).await })
            .await;
    }

    fn made_of(&self, lines: LastLines, screen: Option<Bytes>) -> Remains {
        Remains {
            id: self.id.clone(),
            name: self.name.to_string(),
            exit: self.record().exit,
            lines: lines.joined(),
            size: self.terminal.log().size(),
            seq: self.terminal.log().head(),
            screen,
        }
    }
}

/// The last lines of a log, as many as there is room for.
struct LastLines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    room: usize,
}

impl LastLines {
    fn new(room: usize) -> Self {
        LastLines {
            lines: VecDeque::new(),
            bytes: 0,
            room,
        }
    }

    /// Takes what is sent.
    async fn take<F: Future>(&mut self, send: impl FnOnce(mpsc::Sender<LogLine>) -> F) {
        let (sender, mut lines) = mpsc::channel(QUEUE);
        let taking = async {
            while let Some(line) = lines.recv().await {
                self.push(&line);
            }
        };
        tokio::join!(send(sender), taking);
    }

    fn push(&mut self, line: &LogLine) {
        // A line of a log is always JSON.
        let mut json = serde_json::to_vec(line).unwrap_or_default();
        json.push(b'\n');
        self.bytes += json.len();
        self.lines.push_back(json);
        while self.bytes > self.room
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len();
        }
    }

    fn joined(self) -> Bytes {
        let mut joined = BytesMut::with_capacity(self.bytes);
        for line in self.lines {
            joined.put_slice(&line);
        }
        joined.freeze()
    }
}

impl Remains {
    /// How much is kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.lines.len() + self.screen.as_ref().map_or(0, Bytes::len)
    }

    /// The lines of its log that the query asks for.
    pub fn log(&self, query: &LogQuery) -> Result<Vec<Bytes>> {
        let since_ms = query
            .since
            .as_deref()
            .map(super::logs::parse_time)
            .transpose()?;
        let mut lines = Vec::new();
        let mut rest = self.lines.clone();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1);
            if since_ms.is_none_or(|since| is_since(&line, since)) {
                lines.push(line);
            }
        }
        let tail = query.tail.map_or(usize::MAX, |tail| {
            usize::try_from(tail).unwrap_or(usize::MAX)
        });
        lines.drain(..lines.len().saturating_sub(tail));
        Ok(lines)
    }
}

fn is_since(line: &[u8], since_ms: i64) -> bool {
    let line: Option<LogLine> = serde_json::from_slice(line).ok();
    let written = line.and_then(|line| line.ts?.parse::<jiff::Timestamp>().ok());
    written.is_none_or(|written| written.as_millisecond() >= since_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, ts: Option<&str>) -> LogLine {
        LogLine {
            ts: ts.map(str::to_owned),
            stream: None,
            line: text.to_owned(),
        }
    }

    #[test]
    fn the_last_lines_are_kept_as_far_as_there_is_room() {
        let mut lines = LastLines::new(100);
        for text in ["one", "two", "three"] {
            lines.push(&line(text, None));
        }
        let joined = String::from_utf8(lines.joined().to_vec()).unwrap();
        assert!(joined.len() <= 100 && joined.contains("three") && !joined.contains("one"));
        let mut nothing = LastLines::new(0);
        nothing.push(&line("", None));
        assert!(nothing.joined().is_empty());
        assert_eq!(
            serde_json::to_vec(&line("", None)).unwrap().len() + 1,
            SHORTEST_LINE
        );
    }

    #[test]
    fn what_is_kept_is_asked_for_as_a_log_is() {
        let mut lines = LastLines::new(1000);
        for (text, ts) in [
            ("one", "2026-01-01T00:00:00Z"),
            ("two", "2026-01-01T00:00:01Z"),
            ("three", "2026-01-01T00:00:02Z"),
        ] {
            lines.push(&line(text, Some(ts)));
        }
        let remains = Remains {
            id: String::new(),
            name: String::new(),
            exit: None,
            lines: lines.joined(),
            size: Size { cols: 80, rows: 24 },
            seq: 0,
            screen: None,
        };
        let read = |tail, since: Option<&str>| {
            let query = LogQuery {
                tail,
                since: since.map(str::to_owned),
                ..LogQuery::default()
            };
            remains.log(&query).map(|lines| lines.len())
        };
        assert_eq!(read(None, None).unwrap(), 3);
        assert_eq!(read(Some(2), None).unwrap(), 2);
        assert_eq!(read(Some(0), None).unwrap(), 0);
        assert_eq!(read(None, Some("2026-01-01T00:00:01Z")).unwrap(), 2);
        assert!(read(None, Some("yesterday")).is_err());
    }
}
