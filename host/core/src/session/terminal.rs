use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use agentd_api::Size;
use tokio::sync::watch;
use tokio::time::timeout;

use super::activity::Picture;
use super::log::{Cursor, Log, MAX_FRAME, Sizes};
use super::marks::Mark;
use super::screen::{ReadStep, Screen, Snapshot};
use super::{Beginning, Checkpoint};

/// The least that is kept, whatever the setting, in bytes.
const MIN_HISTORY: usize = 2 * MAX_FRAME;

/// The screen may be so far behind the output before the backend is asked to wait, in bytes.
const BACKLOG: u64 = 4 * MAX_FRAME as u64;

/// How long a screen is waited for that has much to read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The output of a session and the screen that it makes.
#[derive(Debug)]
pub struct Terminal {
    log: Log,
    /// Made with the first output: a session without a terminal has none.
    screen: OnceLock<Screen>,
    /// Whether somebody is about to read on for the screen.
    reading: AtomicBool,
    initial_size: Size,
    begun_at: u64,
}

impl Terminal {
    /// An empty terminal that keeps `history` bytes.
    pub fn new(size: Size, history: usize) -> Self {
        let capacity = history.max(MIN_HISTORY);
        Terminal {
            log: Log::new(size, capacity),
            screen: OnceLock::new(),
            reading: AtomicBool::new(false),
            initial_size: size,
            begun_at: 0,
        }
    }

    /// One that goes on where an earlier daemon had it; `size` is that of the program's start.
    pub fn resumed(size: Size, history: usize, beginning: Beginning) -> Self {
        let cursor = beginning.cursor(size);
        let sizes = match &beginning.checkpoint {
            Some(left) => left.sizes.clone(),
            None => Sizes {
                before: size,
                changes: Vec::new(),
            },
        };
        let hole = beginning.hole();
        let capacity = history.max(MIN_HISTORY);
        let log = Log::starting_at(beginning.first, sizes, hole, capacity);
        log.append(&beginning.output, cursor.seq);
        let begun_at = beginning
            .checkpoint
            .as_ref()
            .map_or(0, |left| left.cursor.seq);
        // One that was left with the checkpoint is on its screen.
        let hole = hole.filter(|hole| hole.from == begun_at);
        let (answered, _) = beginning.answers();
        let screen = match beginning.checkpoint {
            Some(left) => Screen::resumed(cursor, left, answered, hole),
            None => Screen::begun_late(cursor, answered, hole),
        };
        Terminal {
            log,
            screen: screen.into(),
            reading: AtomicBool::new(false),
            initial_size: size,
            begun_at,
        }
    }

    /// The position of the checkpoint that it goes on from.
    pub fn begun_at(&self) -> u64 {
        self.begun_at
    }

    /// What a later daemon needs, where there has been output; at a position beyond `left`, that of
    /// the last one, if there is one.
    pub fn checkpoint(&self, left: u64) -> Option<Checkpoint> {
        Some(self.screen.get()?.checkpoint(&self.log, left))
    }

    /// How far the screen has read.
    pub fn position(&self) -> u64 {
        self.screen.get().map_or(0, Screen::position)
    }

    /// What viewers read.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Appends output. What the screen has not read yet is held in the log, also for a backend that
    /// does not mind its credit; see [`OutputLog::hold`].
    pub fn push(&self, bytes: &[u8]) {
        self.log.append(bytes, self.screen().position());
    }

    /// How many more bytes may come before the screen has read some.
    pub fn credit(&self) -> u64 {
        BACKLOG.saturating_sub(self.unread(self.screen()))
    }

    /// Notified of the position up to which the screen has read, with the position from which there is
    /// credit again.
    pub fn credit_again(&self) -> (watch::Receiver<u64>, u64) {
        (
            self.screen().subscribe(),
            self.log.head().saturating_sub(BACKLOG / 2),
        )
    }

    /// Whether there is output that the screen has not read.
    pub fn has_unread(&self) -> bool {
        self.log.head() > self.position()
    }

    /// True for the one caller that has to read on for the screen now.
    pub fn begin_reading(&self) -> bool {
        !self.reading.swap(true, SeqCst)
    }

    /// Reads a step on for the screen. After the last step somebody else may
    /// [`begin_reading`](Self::begin_reading); one with replies is never the last, so that they
    /// are given in the order of the questions.
    pub fn read_step(&self) -> ReadStep {
        let step = self.screen().advance(&self.log);
        self.taken(step)
    }

    /// The same for whoever [`begin_reading`](Self::begin_reading) said true to, where it takes
    /// little and nobody has to be waited for; else there is all of it to do.
    pub fn try_read_step(&self) -> ReadStep {
        match self.screen().try_advance(&self.log) {
            Some(step) => self.taken(step),
            None => ReadStep::untaken(),
        }
    }

    fn taken(&self, mut step: ReadStep) -> ReadStep {
        step.more |= !step.replies.is_empty();
        if !step.more {
            // In one order with the log's head: who appends sees this, or is seen below.
            self.reading.store(false, SeqCst);
            // What came between the last look and the line above is nobody else's to read.
            step.more = self.unread(self.screen()) > 0 && self.begin_reading();
        }
        step
    }

    /// The state for a viewer that begins anew, a little behind the head; none while there is
    /// nothing to restore.
    pub fn snapshot(&self) -> Option<Snapshot> {
        Some(self.screen.get()?.snapshot())
    }

    /// A recent state beyond the position `seq`, for a viewer that jumps there; none while the
    /// screen has read no further.
    pub fn snapshot_after(&self, seq: u64) -> Option<Snapshot> {
        self.screen.get()?.snapshot_after(seq)
    }

    /// What the screen showed at the first position from `seq` on of which that is known.
    pub fn mark_from(&self, seq: u64) -> Option<Mark> {
        self.screen.get()?.mark_from(seq)
    }

    /// What the screen showed at the last such position, where that is not before `seq`.
    pub fn newest_mark_from(&self, seq: u64) -> Option<Mark> {
        self.screen.get()?.newest_mark_from(seq)
    }

    /// The last lines on the screen that are not empty, at most five once nobody needed the screen
    /// for long, and the position up to which it has read. None without a screen, and while
    /// another thread uses it.
    pub fn last_lines(&self, count: usize) -> Option<(u64, Vec<String>)> {
        self.screen.get()?.last_lines(count)
    }

    /// What the screen shows, and the position up to which it has read; nothing while nothing was printed.
    pub fn picture(&self) -> (u64, Picture) {
        let screen = self.screen.get();
        screen.map_or_else(|| (0, Picture::default()), Screen::picture)
    }

    /// Whether the program wants pastes marked, as far as the screen has read.
    pub fn wants_marked_pastes(&self) -> bool {
        let screen = self.screen.get();
        screen.is_some_and(Screen::wants_marked_pastes)
    }

    /// Whether the program wants the arrows' other form (DECCKM), as far as the screen has read.
    pub fn wants_application_keys(&self) -> bool {
        let screen = self.screen.get();
        screen.is_some_and(Screen::wants_application_keys)
    }

    /// Waits until the screen has read what there is now; no longer than [`PATIENCE`] if that is
    /// much work.
    pub async fn caught_up(&self) {
        if let Some(screen) = self.screen.get() {
            let head = self.log.head();
            let mut position = screen.subscribe();
            let read = position.wait_for(|position| *position >= head);
            // Who goes on without it sees an earlier state, and what follows it.
            let _ = timeout(PATIENCE, read).await;
        }
    }

    /// Waits until the screen has read the output up to there, as far as there is any by now.
    pub async fn has_read(&self, seq: u64) {
        let seq = seq.min(self.log.head());
        if seq > 0 {
            // The sender lives as long as the screen.
            let _ = self.screen().subscribe().wait_for(|it| *it >= seq).await;
        }
    }

    /// Puts the screen away when nobody needed it for so long. False when it is still awake.
    pub fn put_away(&self, idle: Duration) -> bool {
        self.screen.get().is_none_or(|screen| screen.put_away(idle))
    }

    /// A backend may push from several threads, so either side may be ahead of what was looked at.
    fn unread(&self, screen: &Screen) -> u64 {
        self.log.head().saturating_sub(screen.position())
    }

    fn screen(&self) -> &Screen {
        self.screen.get_or_init(|| {
            Screen::new(Cursor {
                seq: 0,
                size: self.initial_size,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::session::Next;
    use crate::session::log::TAKES;

    const SMALL: Size = Size { cols: 80, rows: 24 };
    const LARGE: Size = Size {
        cols: 100,
        rows: 30,
    };

    /// Everything from the beginning: output as text, resizes in brackets.
    fn script(terminal: &Terminal) -> String {
        let mut cursor = Cursor {
            seq: 0,
            size: SMALL,
        };
        let mut script = String::new();
        loop {
            match terminal.log().next(&mut cursor) {
                Next::Output(bytes) => script.push_str(&String::from_utf8_lossy(&bytes)),
                Next::Resize(size) => script.push_str(&format!("[{}x{}]", size.cols, size.rows)),
                Next::Nothing => return script,
                Next::Ended => return script + "[end]",
                Next::Lost => return script + "[lost]",
            }
        }
    }

    /// The figures are in `host/ARCHITECTURE.md`.
    #[test]
    fn a_small_output_takes_the_lock_of_the_log_three_times_and_twice_for_each_viewer() {
        let terminal = Terminal::new(SMALL, 0);
        terminal.push(b"first");
        assert!(terminal.begin_reading());
        // With the screen made.
        assert!(!terminal.read_step().more);
        let mut viewer = terminal.log().cursor(Some(terminal.log().head()));
        for text in [&b"one"[..], b"two"] {
            TAKES.set(0);
            terminal.push(text);
            assert!(terminal.begin_reading());
            assert!(!terminal.try_read_step().more);
            assert!(terminal.credit() > 0);
            assert_eq!(TAKES.replace(0), 3);
            let output = terminal.log().next(&mut viewer);
            assert_eq!(output, Next::Output(Bytes::from_static(text)));
            assert_eq!(terminal.log().next(&mut viewer), Next::Nothing);
            assert_eq!(TAKES.get(), 2);
        }
    }

    #[test]
    fn a_resize_is_applied_at_its_position_in_the_output() {
        let terminal = Terminal::new(SMALL, 1 << 20);
        terminal.push(b"one");
        assert!(terminal.log().resize(LARGE));
        assert!(!terminal.log().resize(LARGE));
        terminal.push(b"two");
        assert!(terminal.log().resize(SMALL));
        assert!(terminal.log().resize(LARGE));
        terminal.log().end();
        assert_eq!(script(&terminal), "one[100x30]two[end]");
    }

    #[test]
    fn what_falls_off_the_log_still_sets_the_size() {
        let terminal = Terminal::new(SMALL, 0);
        terminal.log().resize(LARGE);
        for _ in 0..10 {
            terminal.push(&[b'x'; MAX_FRAME]);
            while terminal.read_step().more {}
        }
        assert_eq!(script(&terminal), "[lost]");
        assert_eq!(terminal.log().cursor(None).size, LARGE);
    }

    #[test]
    fn the_screen_reads_everything_however_much_comes_at_once() {
        let terminal = Terminal::new(SMALL, 0);
        terminal.push(&[b'x'; 3 * MIN_HISTORY]);
        terminal.push(b"\x1b[2J\x1b[Hhello");
        terminal.log().end();
        while terminal.read_step().more {}
        let snapshot = terminal.snapshot().unwrap();
        assert_eq!(snapshot.cursor.seq, terminal.log().head());
        assert!(String::from_utf8_lossy(&snapshot.bytes).contains("hello"));
    }

    #[test]
    fn only_one_reads_for_the_screen() {
        let terminal = Terminal::new(SMALL, 0);
        terminal.push(b"\x1b[c");
        assert!(terminal.begin_reading());
        assert!(!terminal.begin_reading());
        let step = terminal.read_step();
        assert!(step.more && step.replies.starts_with(b"\x1b[?"));
        assert!(!terminal.begin_reading());
        let step = terminal.read_step();
        assert!(!step.more && step.replies.is_empty());
        assert!(terminal.begin_reading());
    }
}
