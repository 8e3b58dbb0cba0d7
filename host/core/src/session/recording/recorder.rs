use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use agentd_api::Exit;
use tokio::time::sleep;

use super::Recording;
use super::cast::{Header, Lines, Origin};
use super::parts::{Folder, Part};
use crate::session::{Cursor, Next, Session, Snapshot};

/// What comes within this time is written at once, and has one time.
const TICK: Duration = Duration::from_millis(5);

/// So much output is written before others get a turn, in bytes.
const TURN: usize = 1 << 20;

/// So much output is recorded in a second for long, in bytes, and so much of it may come at once. A
/// program that floods is not to be made slower by its recording.
pub(super) const PER_SECOND: i64 = 4 << 20;
const AT_ONCE: i64 = 16 << 20;

/// What a snapshot in place of output counts as, at least, in bytes.
const SNAPSHOT: u64 = 256 << 10;

/// How long a flood goes on before it is looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// The status of a process that a signal has ended, as a shell says it, is this and the signal.
const SIGNALLED: i32 = 128;

/// How many parts there may be within what is kept.
const PARTS: u64 = 8;

/// Reads the output of a session like a viewer, at a position of its own, and writes it to a file.
/// What it has not read in time is left out, with a marker and the screen as it is then.
pub(super) struct Recorder {
    session: Arc<Session>,
    recording: Arc<Recording>,
    folder: Folder,
    /// What is kept of the agent's recordings, in bytes.
    kept: u64,
    part: Part,
    lines: Lines,
    cursor: Cursor,
    /// Up to where it is written.
    written: Cursor,
    budget: Budget,
    /// Where the next part begins, once that is known.
    next_part: Option<Snapshot>,
}

/// What a turn has come to.
enum Turn {
    Nothing,
    Written,
    Lost,
    Ended,
}

impl Recorder {
    /// Begins, or goes on with what an earlier service has written; none if that is complete. So many bytes of the
    /// agent's are `allowed` to be kept, and so many in a second.
    pub async fn begin(
        session: &Arc<Session>,
        recording: &Arc<Recording>,
        folder: Folder,
        allowed: (u64, i64),
    ) -> io::Result<Option<Self>> {
        while let Some(last) = folder.last_of(session)? {
            match Part::resume(&last)? {
                Some((_, position, _)) if position.ended => return Ok(None),
                Some((part, position, at)) => {
                    let since = SystemTime::now().duration_since(at).unwrap_or_default();
                    let now = Instant::now();
                    let lines = Lines::after(now.checked_sub(since).unwrap_or(now));
                    let begun = (part, lines, position.cursor);
                    return Ok(Some(Recorder::new(
                        session, recording, folder, allowed, begun,
                    )));
                }
                // The service was killed as it began it.
                None => std::fs::remove_file(&last.path)?,
            }
        }
        let log = session.terminal.log();
        let start = Cursor {
            seq: 0,
            size: session.label.size,
        };
        let now = Instant::now();
        let mut lines = Lines::after(now);
        let mut cursor = start;
        if log.keeps(0) {
            lines.header(&header(session, 1, start, false));
        } else {
            let snapshot = session.snapshot().await;
            cursor = snapshot.as_ref().map_or(log.cursor(None), |it| it.cursor);
            lines.header(&header(session, 1, cursor, snapshot.is_some()));
            if let Some(snapshot) = snapshot {
                lines.output(now, &snapshot.bytes);
            }
            lines.marker(now, &left_out(cursor.seq));
        }
        if recording.is_discarded() {
            return Ok(None);
        }
        let part = folder.begin(session, 1, &lines.take(cursor, false))?;
        let begun = (part, lines, cursor);
        Ok(Some(Recorder::new(
            session, recording, folder, allowed, begun,
        )))
    }

    fn new(
        session: &Arc<Session>,
        recording: &Arc<Recording>,
        folder: Folder,
        (kept, per_second): (u64, i64),
        (part, lines, cursor): (Part, Lines, Cursor),
    ) -> Self {
        Recorder {
            session: session.clone(),
            recording: recording.clone(),
            folder,
            kept,
            part,
            lines,
            cursor,
            written: cursor,
            budget: Budget::full(per_second),
            next_part: None,
        }
    }

    /// Records to the end.
    pub async fn run(&mut self) -> io::Result<()> {
        let recorded = self.record().await;
        if let Err(error) = &recorded
            && !self.part.is_torn()
        {
            // A later service goes on with what could not be written.
            self.cursor = self.written;
            self.lines = Lines::after(Instant::now());
            let label = format!("the recording ended: {}", reason(error));
            self.lines.marker(Instant::now(), &label);
            // There may be room for this all the same.
            let _ = self.write(false);
        }
        recorded
    }

    async fn record(&mut self) -> io::Result<()> {
        self.folder
            .shorten(&self.part.path, self.kept - self.part_bytes())?;
        let mut changes = self.session.terminal.log().subscribe();
        while !self.recording.is_discarded() {
            changes.mark_unchanged();
            if self.budget.is_spent() {
                self.recording.pause(PAUSE).await;
                if self.backlog().cast_signed() > self.budget.left() {
                    self.leave_out().await?;
                }
            }
            match self.turn()? {
                Turn::Ended => return self.end(),
                Turn::Lost => self.leave_out().await?,
                Turn::Written => {
                    self.plan_next_part().await?;
                    sleep(TICK).await;
                }
                Turn::Nothing => tokio::select! {
                    // The sender lives as long as the session.
                    _ = changes.changed() => {}
                    () = self.recording.discarded() => {}
                },
            }
        }
        Ok(())
    }

    /// Writes what there is.
    fn turn(&mut self) -> io::Result<Turn> {
        let now = Instant::now();
        let (mut taken, mut is_new) = (0, false);
        let turn = loop {
            if let Some(snapshot) = self
                .next_part
                .take_if(|it| self.cursor.seq >= it.cursor.seq)
            {
                self.begin_part(&snapshot)?;
            }
            // Not much more than its share comes into a part.
            let piece = self.cursor.seq + self.part_bytes() / PARTS;
            let end = self.next_part.as_ref().map(|it| it.cursor.seq);
            let log = self.session.terminal.log();
            match log.next_until(&mut self.cursor, end.unwrap_or(u64::MAX).min(piece)) {
                Next::Output(bytes) => {
                    taken += bytes.len();
                    self.lines.output(now, &bytes);
                }
                Next::Resize(size) => self.lines.resize(now, size),
                Next::Nothing if is_new => break Turn::Written,
                Next::Nothing => break Turn::Nothing,
                Next::Ended => break Turn::Ended,
                Next::Lost => break Turn::Lost,
            }
            if taken >= TURN || (self.next_part.is_none() && self.is_full()) {
                break Turn::Written;
            }
            is_new = true;
        };
        self.budget.take(taken as u64);
        self.write(false)?;
        Ok(turn)
    }

    /// Passes over what was not read in time.
    async fn leave_out(&mut self) -> io::Result<()> {
        self.next_part = None;
        let from = self.cursor;
        self.screen_reads(from.seq + 1).await;
        let snapshot = match self.session.snapshot_after(from.seq).await {
            None => self.session.snapshot().await,
            snapshot => snapshot,
        };
        let log = self.session.terminal.log();
        self.cursor = snapshot.as_ref().map_or(log.cursor(None), |it| it.cursor);
        let now = Instant::now();
        self.lines.drop_character();
        self.lines
            .marker(now, &left_out(self.cursor.seq.saturating_sub(from.seq)));
        if self.cursor.size != from.size {
            self.lines.resize(now, self.cursor.size);
        }
        if let Some(snapshot) = &snapshot {
            self.lines.output(now, &snapshot.bytes);
            self.budget.take(SNAPSHOT.max(snapshot.bytes.len() as u64));
        }
        self.write(false)?;
        if let Some(snapshot) = snapshot
            && self.needs_next_part()
        {
            self.begin_part(&snapshot)?;
        }
        sleep(TICK).await;
        Ok(())
    }

    /// When the part is full, the next one begins where the screen is known, and so can be played
    /// without those before it. Nothing is read until then: a flood may be far ahead of the screen.
    async fn plan_next_part(&mut self) -> io::Result<()> {
        if self.next_part.is_some() || !self.needs_next_part() {
            return Ok(());
        }
        self.screen_reads(self.cursor.seq).await;
        let here = self.cursor.seq.saturating_sub(1);
        let snapshot = self.session.snapshot_after(here).await;
        let most = self.cursor.seq + self.part_bytes();
        if snapshot.as_ref().is_some_and(|it| it.cursor.seq > most) {
            // The screen is so far ahead that what is between would be more than a part.
            return self.leave_out().await;
        }
        self.next_part = snapshot;
        Ok(())
    }

    /// Waits until the screen has read the output up to there, as far as there is any.
    async fn screen_reads(&self, seq: u64) {
        tokio::select! {
            () = self.session.terminal.has_read(seq) => {}
            () = self.recording.discarded() => {}
        }
    }

    fn is_full(&self) -> bool {
        self.part.bytes + self.lines.len() as u64 >= self.part_bytes()
    }

    fn needs_next_part(&self) -> bool {
        self.is_full() || self.part.is_removed()
    }

    fn begin_part(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let now = Instant::now();
        if snapshot.cursor.size != self.cursor.size {
            self.lines.resize(now, snapshot.cursor.size);
        }
        self.write(false)?;
        self.cursor = snapshot.cursor;
        let number = self.part.number + 1;
        let header = header(&self.session, number, self.cursor, true);
        // What was begun of a character is in both.
        self.lines.drop_character();
        self.lines.header(&header);
        self.lines.output(now, &snapshot.bytes);
        self.budget.take(snapshot.bytes.len() as u64);
        let lines = self.lines.take(self.cursor, false);
        self.part = self.folder.begin(&self.session, number, &lines)?;
        self.written = self.cursor;
        self.folder
            .shorten(&self.part.path, self.kept - self.part_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.session.life.is_left_alone() {
            // It may be taken over later.
            return Ok(());
        }
        let now = Instant::now();
        let exit = self.session.record().exit.unwrap_or_default();
        let status = match exit {
            Exit {
                code: Some(code), ..
            } => Some(code),
            Exit { signal, .. } => signal.map(|signal| SIGNALLED + signal),
        };
        if let Some(status) = status {
            self.lines.exit(now, status);
        }
        self.write(true)
    }

    fn write(&mut self, ended: bool) -> io::Result<()> {
        if !self.lines.is_empty() || ended {
            let lines = self.lines.take(self.cursor, ended);
            self.part.append(&lines)?;
            self.written = self.lines.position(self.cursor);
        }
        self.recording.note_written(self.cursor.seq);
        Ok(())
    }

    fn backlog(&self) -> u64 {
        self.session
            .terminal
            .log()
            .head()
            .saturating_sub(self.cursor.seq)
    }

    fn part_bytes(&self) -> u64 {
        self.kept / PARTS
    }
}

fn header(session: &Session, part: u32, cursor: Cursor, restored: bool) -> Header {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let origin = Origin {
        session: session.id.clone(),
        part,
        restored,
    };
    let seconds = since.unwrap_or_default().as_secs();
    Header::new(cursor.size, seconds, session.name.to_string(), origin)
}

fn left_out(bytes: u64) -> String {
    format!("{bytes} bytes of output were left out")
}

/// Why a recording ended before its session did.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        _ => error.to_string(),
    }
}

/// How much may be recorded, in bytes. What a turn takes beyond that is owed.
struct Budget {
    left: i64,
    /// So much more comes in a second.
    more: i64,
    at: Instant,
}

impl Budget {
    fn full(per_second: i64) -> Self {
        Budget {
            left: AT_ONCE,
            more: per_second,
            at: Instant::now(),
        }
    }

    fn take(&mut self, bytes: u64) {
        self.left = self.left().saturating_sub_unsigned(bytes);
    }

    fn is_spent(&mut self) -> bool {
        self.left() <= 0
    }

    fn left(&mut self) -> i64 {
        let now = Instant::now();
        let millis = now.saturating_duration_since(self.at).as_millis();
        let more = i64::try_from(millis)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.more)
            / 1000;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(AT_ONCE);
            self.at = now;
        }
        self.left
    }
}
