use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::Size;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::log::{Cursor, Next};
use super::{Session, Snapshot};

/// A viewer that acknowledges is sent so much beyond what it has parsed, at most, in bytes.
/// xterm.js grows sluggish beyond about 500 kB.
const WINDOW: u64 = 256 * 1024;

/// So many viewers are shown everything, whatever comes.
const FEW: u64 = 2;

/// All viewers of a session together are shown so much in one [`PACE`], in bytes, so that showing
/// leaves time for the program itself.
const SHARED: u64 = 4 * 1024 * 1024;

/// The least that each of them is shown in that time.
const LEAST: u64 = 32 * 1024;

/// Who cannot be shown everything gets a snapshot at this interval.
const PACE: Duration = Duration::from_millis(100);

/// What a viewer is shown next.
#[derive(Debug)]
pub enum Frame {
    /// Everything anew.
    Snapshot(Snapshot),
    /// Output.
    Output(Bytes),
    /// The size changed.
    Resize(Size),
    /// Nothing ever again.
    End,
}

/// What one viewer sees of a session: a position that moves on, and jumps to the present with a
/// snapshot when the viewer cannot keep up.
#[derive(Debug)]
pub struct View {
    session: Arc<Session>,
    changes: watch::Receiver<()>,
    cursor: Cursor,
    /// What goes before anything else.
    due: VecDeque<Frame>,
    /// How far the viewer has parsed, if it reports that.
    acknowledged: Option<watch::Receiver<u64>>,
    /// The position of the last jump: what was passed over needs no acknowledgement.
    jumped_to: u64,
    /// When the present [`PACE`] began, and what was shown in it.
    pace_since: Instant,
    pace_shown: u64,
}

impl View {
    /// Begins at `resumed`, where that is still kept, else with a snapshot.
    pub async fn open(
        session: Arc<Session>,
        resumed: Option<u64>,
        acknowledged: Option<watch::Receiver<u64>>,
    ) -> Self {
        let terminal = &session.terminal;
        // Subscribed before the first look, so that nothing is missed in between.
        let changes = terminal.log().subscribe();
        let resumed = resumed.filter(|seq| terminal.log().keeps(*seq));
        let snapshot = match resumed {
            None => session.snapshot().await,
            Some(_) => None,
        };
        let cursor = match &snapshot {
            Some(snapshot) => snapshot.cursor,
            None => terminal.log().cursor(resumed),
        };
        let due = snapshot.map(Frame::Snapshot).into_iter().collect();
        View {
            session,
            changes,
            cursor,
            due,
            acknowledged,
            jumped_to: 0,
            pace_since: Instant::now(),
            pace_shown: 0,
        }
    }

    /// Where the viewer is.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What comes next. Nothing is lost when the future is dropped before it is done.
    pub async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.due.pop_front() {
                return frame;
            }
            if self.is_window_full() {
                self.acknowledgement().await;
                if self.backlog() > WINDOW {
                    self.jump().await;
                }
                continue;
            }
            if self.has_had_its_share() {
                tokio::time::sleep_until(self.pace_since + PACE).await;
                self.begin_pace();
                if self.backlog() > LEAST && self.jump().await {
                    continue;
                }
            }
            self.changes.mark_unchanged();
            match self.session.terminal.log().next(&mut self.cursor) {
                Next::Output(bytes) => {
                    self.pace_shown += bytes.len() as u64;
                    return Frame::Output(bytes);
                }
                Next::Resize(size) => return Frame::Resize(size),
                Next::Ended => return Frame::End,
                Next::Lost => {
                    self.jump().await;
                }
                // The sender lives as long as the session.
                Next::Nothing => drop(self.changes.changed().await),
            }
        }
    }

    /// Goes to a state that the screen knows, if that is ahead.
    async fn jump(&mut self) -> bool {
        let Some(snapshot) = self.session.snapshot_after(self.cursor.seq).await else {
            return false;
        };
        if snapshot.cursor.size != self.cursor.size {
            self.due.push_back(Frame::Resize(snapshot.cursor.size));
        }
        self.cursor = snapshot.cursor;
        self.session
            .backend
            .traffic()
            .resynchronisations
            .increment(1);
        self.jumped_to = self.cursor.seq;
        self.pace_shown += snapshot.bytes.len() as u64;
        self.due.push_back(Frame::Snapshot(snapshot));
        true
    }

    fn backlog(&self) -> u64 {
        self.session.terminal.log().head() - self.cursor.seq
    }

    /// Whether showing more now would be at the cost of the program or of other viewers.
    fn has_had_its_share(&mut self) -> bool {
        if self.pace_since.elapsed() > PACE {
            self.begin_pace();
        }
        let viewers = self.session.viewer_count();
        viewers > FEW && self.pace_shown > (SHARED / viewers).max(LEAST)
    }

    fn begin_pace(&mut self) {
        self.pace_since = Instant::now();
        self.pace_shown = 0;
    }

    fn is_window_full(&self) -> bool {
        self.acknowledged.as_ref().is_some_and(|acknowledged| {
            let known = (*acknowledged.borrow()).max(self.jumped_to);
            self.cursor.seq.saturating_sub(known) > WINDOW
        })
    }

    async fn acknowledgement(&mut self) {
        let gone = match &mut self.acknowledged {
            Some(acknowledged) => acknowledged.changed().await.is_err(),
            None => false,
        };
        if gone {
            // The viewer's own end; whoever drives this view is about to see it.
            std::future::pending::<()>().await;
        }
    }
}
