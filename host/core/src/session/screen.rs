use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentd_terminal::{Emulator, PutAway, Signals};
use bytes::Bytes;
use tokio::sync::watch;

use super::Checkpoint;
use super::activity::Picture;
use super::log::{Cursor, Hole, Log, Next};
use super::marks::{Mark, Marks};

/// Lines above the screen that a snapshot restores.
const SCROLLBACK: usize = 1000;

/// So much work is done at a time before others get a turn, see [`Emulator::work`]: of plain text
/// 32 KiB, of the rest less.
const STEP: u64 = 32 * 1024;

/// So much of it is done by whoever brings the output.
const SMALL_STEP: u64 = 4 * 1024;

/// On a larger screen a single sequence may be too much for that, in cells.
const SMALL_SCREEN: u32 = 32 * 1024;

/// The state that a session's output has made of its terminal. It reads the log like a viewer, a
/// little behind the head, so that viewers never wait for it.
#[derive(Debug)]
pub struct Screen {
    state: Mutex<State>,
    /// How far it has read.
    read: watch::Sender<u64>,
    /// Where readers of the log may begin. Apart from the state, which may be held for long: readers do
    /// not wait for a screen. Never held while something is drawn.
    marks: Mutex<Marks>,
}

#[derive(Debug)]
struct State {
    emulator: Held,
    cursor: Cursor,
    used_at: Instant,
    /// Many viewers that join or jump at once share one.
    snapshot: Option<Snapshot>,
    /// Of the screen that was put away, so that it need not be drawn for them.
    last_lines: Vec<String>,
    /// What the program asked before this position was answered by an earlier daemon.
    answered: u64,
}

/// An emulator costs much more than what it knows.
#[derive(Debug)]
enum Held {
    Awake(Box<Emulator>),
    Away(PutAway),
    /// Only while one becomes the other.
    Nothing,
}

/// Lines that are known of a screen that was put away.
const LAST_LINES: usize = 5;

/// Viewers that jump anyway may share a snapshot that is so old, or so many times as old as it took
/// to make.
const SHARED_FOR: Duration = Duration::from_millis(50);
const SHARED_TIMES: u32 = 10;

/// Bytes that bring a fresh terminal to the state of a position.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The position, and the size there.
    pub cursor: Cursor,
    /// Drawn at once by terminals that know synchronized updates.
    pub bytes: Bytes,
    made_at: Instant,
    shared_for: Duration,
}

/// What came of reading on for the screen.
#[derive(Debug)]
pub struct ReadStep {
    /// Whether another step has to follow.
    pub more: bool,
    /// What the program is to be answered before that.
    pub replies: Vec<u8>,
    /// What the program has said beside its screen.
    pub signals: Signals,
    /// Up to where it was read.
    pub position: u64,
}

impl ReadStep {
    /// Nothing has been read yet.
    pub fn untaken() -> Self {
        ReadStep {
            more: true,
            replies: Vec::new(),
            signals: Signals::default(),
            position: 0,
        }
    }
}

impl Screen {
    /// The screen of a program that has written nothing.
    pub fn new(cursor: Cursor) -> Self {
        let emulator = Emulator::new(size(cursor.size), SCROLLBACK);
        Screen::put_away_at(cursor, emulator.put_away(), Vec::new(), 0)
    }

    /// The screen of one of which nothing was left; its earlier output may be lost.
    pub fn begun_late(cursor: Cursor, answered: u64, hole: Option<Hole>) -> Self {
        let mut emulator = Emulator::new(size(cursor.size), SCROLLBACK);
        emulator.advance(&mark_of(hole));
        Screen::put_away_at(cursor, emulator.put_away(), Vec::new(), answered)
    }

    /// The screen that an earlier daemon left, from the position of `cursor` on; there it shows what was
    /// lost before.
    pub fn resumed(cursor: Cursor, left: Checkpoint, answered: u64, hole: Option<Hole>) -> Self {
        let (size, snapshot) = (
            size(cursor.size),
            [&left.snapshot, &mark_of(hole)[..]].concat(),
        );
        let mark = (cursor == left.cursor).then(|| Mark::of_snapshot(cursor, &left.snapshot));
        let away = PutAway::of_snapshot(size, SCROLLBACK, snapshot, left.bracketed_paste);
        let screen = Screen::put_away_at(cursor, away, left.last_lines, answered);
        if let Some(mark) = mark {
            screen.marks().push(mark);
        }
        screen
    }

    fn put_away_at(cursor: Cursor, away: PutAway, last_lines: Vec<String>, answered: u64) -> Self {
        let state = State {
            emulator: Held::Away(away),
            cursor,
            used_at: Instant::now(),
            snapshot: None,
            last_lines,
            answered,
        };
        Screen {
            state: Mutex::new(state),
            read: watch::Sender::new(cursor.seq),
            marks: Mutex::default(),
        }
    }

    /// What a later daemon needs, at a position beyond `left` if there is one. This is no use of the
    /// screen, and wakes nothing.
    pub fn checkpoint(&self, log: &Log, left: u64) -> Checkpoint {
        let mut state = self.lock();
        let recent = state.recent_snapshot();
        let recent = recent.filter(|snapshot| snapshot.cursor.seq > left);
        let snapshot = match recent.cloned() {
            Some(snapshot) => snapshot,
            None => state.make_snapshot(),
        };
        let (bracketed_paste, last_lines) = match &state.emulator {
            Held::Awake(emulator) => (emulator.bracketed_paste(), emulator.last_lines(LAST_LINES)),
            Held::Away(away) => (away.bracketed_paste(), state.last_lines.clone()),
            Held::Nothing => (false, Vec::new()),
        };
        Checkpoint {
            cursor: snapshot.cursor,
            sizes: log.sizes(),
            answered: 0,
            unsent: Vec::new(),
            bracketed_paste,
            last_lines,
            hole: log.hole(),
            snapshot: snapshot.bytes,
        }
    }

    /// How far it has read.
    pub fn position(&self) -> u64 {
        *self.read.borrow()
    }

    /// Notified of the position up to which it has read.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.read.subscribe()
    }

    /// Reads a step on.
    pub fn advance(&self, log: &Log) -> ReadStep {
        self.step(&mut self.lock(), log, STEP)
    }

    /// The same, where it takes little: not while another thread uses it, nor when the emulator
    /// has been put away.
    pub fn try_advance(&self, log: &Log) -> Option<ReadStep> {
        let mut state = self.state.try_lock().ok()?;
        let size = state.cursor.size;
        let is_small = u32::from(size.cols) * u32::from(size.rows) <= SMALL_SCREEN;
        if !is_small || !matches!(state.emulator, Held::Awake(_)) {
            return None;
        }
        Some(self.step(&mut state, log, SMALL_STEP))
    }

    fn step(&self, state: &mut State, log: &Log, work: u64) -> ReadStep {
        let read = catch_unwind(AssertUnwindSafe(|| {
            let more = state.read_step(log, work);
            self.mark(state, log);
            more
        }));
        let more = read.unwrap_or_else(|_| {
            let seq = state.cursor.seq;
            tracing::error!(
                seq,
                "the screen panicked, and begins anew after the output so far"
            );
            state.begin_anew(log.cursor(Some(log.head())));
            true
        });
        let replies = state.awake().take_replies();
        let signals = state.awake().take_signals();
        self.report_position(state);
        ReadStep {
            more,
            replies,
            signals,
            position: state.cursor.seq,
        }
    }

    /// While the state is held, so that the position never goes back.
    fn report_position(&self, state: &State) {
        self.read.send_replace(state.cursor.seq);
    }

    /// The oldest mark that is not before `seq`.
    pub fn mark_from(&self, seq: u64) -> Option<Mark> {
        self.marks().from(seq)
    }

    /// The newest mark, where that is not before `seq`.
    pub fn newest_mark_from(&self, seq: u64) -> Option<Mark> {
        self.marks().newest_from(seq)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, state: &mut State, log: &Log) {
        let cursor = state.cursor;
        if self.marks().is_due(cursor.seq, log.capacity()) {
            let mark = Mark::of(cursor, state.awake());
            let mut marks = self.marks();
            marks.forget_before(log.tail());
            marks.push(mark);
        }
    }

    /// The state at the position that was read last.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.lock();
        state.used_at = Instant::now();
        match state.present_snapshot() {
            Some(snapshot) => snapshot,
            None => state.make_snapshot(),
        }
    }

    /// A recent state beyond the position `seq`, if there is one.
    pub fn snapshot_after(&self, seq: u64) -> Option<Snapshot> {
        let mut state = self.lock();
        state.used_at = Instant::now();
        match state.recent_snapshot() {
            Some(snapshot) if snapshot.cursor.seq > seq => Some(snapshot.clone()),
            _ if state.cursor.seq > seq => Some(state.make_snapshot()),
            _ => None,
        }
    }

    /// Whether the program wants pastes marked.
    pub fn wants_marked_pastes(&self) -> bool {
        match &self.lock().emulator {
            Held::Awake(emulator) => emulator.bracketed_paste(),
            Held::Away(away) => away.bracketed_paste(),
            Held::Nothing => false,
        }
    }

    /// Whether the program wants the arrows' other form (DECCKM). This wakes nothing.
    pub fn wants_application_keys(&self) -> bool {
        match &self.lock().emulator {
            Held::Awake(emulator) => emulator.application_keys(),
            Held::Away(away) => looked_at(away).application_keys(),
            Held::Nothing => false,
        }
    }

    /// The last lines that are not empty, and the position at which the screen shows them. None
    /// while another thread uses the screen: this never waits.
    pub fn last_lines(&self, count: usize) -> Option<(u64, Vec<String>)> {
        let state = self.state.try_lock().ok()?;
        let lines = match &state.emulator {
            Held::Awake(emulator) => emulator.last_lines(count),
            _ => state.last_lines.clone(),
        };
        Some((state.cursor.seq, lines))
    }

    /// What it shows, and the position up to which it has read. This is no use of the screen, and wakes
    /// nothing.
    pub fn picture(&self) -> (u64, Picture) {
        let state = self.lock();
        let picture = match &state.emulator {
            Held::Awake(emulator) => picture(emulator),
            Held::Away(away) => picture(&looked_at(away)),
            Held::Nothing => Picture::default(),
        };
        (state.cursor.seq, picture)
    }

    /// Trades the emulator for its snapshot when it has not been used for `idle`. False when it is
    /// still awake.
    pub fn put_away(&self, idle: Duration) -> bool {
        let mut state = self.lock();
        if state.used_at.elapsed() < idle {
            return matches!(state.emulator, Held::Away(_));
        }
        state.snapshot = None;
        state.emulator = match std::mem::replace(&mut state.emulator, Held::Nothing) {
            Held::Awake(emulator) => {
                state.last_lines = emulator.last_lines(LAST_LINES);
                Held::Away(emulator.put_away())
            }
            other => other,
        };
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One that many may share.
    fn recent_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|snapshot| {
            snapshot.cursor == self.cursor || snapshot.made_at.elapsed() < snapshot.shared_for
        })
    }

    fn present_snapshot(&self) -> Option<Snapshot> {
        let snapshot = self.snapshot.as_ref();
        snapshot.filter(|one| one.cursor == self.cursor).cloned()
    }

    fn make_snapshot(&mut self) -> Snapshot {
        let began = Instant::now();
        let bytes = match &self.emulator {
            Held::Away(away) => away.snapshot().into(),
            _ => self.awake().snapshot().into(),
        };
        let (cursor, made_at) = (self.cursor, Instant::now());
        let snapshot = Snapshot {
            cursor,
            bytes,
            made_at,
            shared_for: SHARED_FOR.max(began.elapsed() * SHARED_TIMES),
        };
        // One that was put away is a snapshot already, and must not cost as much again.
        if matches!(self.emulator, Held::Awake(_)) {
            self.snapshot = Some(snapshot.clone());
        }
        snapshot
    }

    fn awake(&mut self) -> &mut Emulator {
        if !matches!(self.emulator, Held::Awake(_)) {
            self.emulator = match std::mem::replace(&mut self.emulator, Held::Nothing) {
                Held::Away(away) => Held::Awake(Box::new(away.restore())),
                // A panic in `restore` left nothing: begin anew.
                _ => Held::Awake(Box::new(Emulator::new(size(self.cursor.size), SCROLLBACK))),
            };
        }
        match &mut self.emulator {
            Held::Awake(emulator) => emulator,
            _ => unreachable!("it was just made"),
        }
    }

    /// With an empty screen there.
    fn begin_anew(&mut self, cursor: Cursor) {
        let emulator = Emulator::new(size(cursor.size), SCROLLBACK);
        self.emulator = Held::Awake(Box::new(emulator));
        self.cursor = cursor;
    }

    fn read_step(&mut self, log: &Log, work: u64) -> bool {
        self.used_at = Instant::now();
        let end = self.awake().work() + work;
        while let Some(left) = end.checked_sub(self.awake().work())
            && left > 0
        {
            let mut cursor = self.cursor;
            match log.next(&mut cursor) {
                Next::Output(bytes) => {
                    #[cfg(test)]
                    assert!(!bytes.starts_with(tests::POISON), "as the test wants it");
                    let read = self.read_within(&bytes, left);
                    cursor.seq = self.cursor.seq + read as u64;
                }
                Next::Resize(new) => {
                    // Of several sizes at one position the log knows the last.
                    self.snapshot = None;
                    self.awake().resize(size(new));
                }
                Next::Nothing | Next::Ended => return false,
                Next::Lost => {
                    // The log holds much more than a backend has credit for.
                    let seq = self.cursor.seq;
                    tracing::error!(seq, "output was lost, as the backend ignores its credit");
                    self.begin_anew(log.cursor(None));
                    return true;
                }
            }
            self.cursor = cursor;
        }
        true
    }
}

impl State {
    /// Reads of `bytes` what `work` allows, and gives how many that were.
    fn read_within(&mut self, bytes: &[u8], work: u64) -> usize {
        let answered = self.answered.saturating_sub(self.cursor.seq);
        if answered == 0 {
            return self.awake().advance_within(bytes, work);
        }
        let answered = usize::try_from(answered).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(answered)];
        let read = self.awake().advance_within(bytes, work);
        self.awake().take_replies();
        read
    }
}

/// The same screen, for a look.
fn looked_at(away: &PutAway) -> Emulator {
    let mut emulator = Emulator::new(away.size(), 0);
    emulator.advance(&away.snapshot());
    emulator
}

fn picture(emulator: &Emulator) -> Picture {
    Picture {
        lines: emulator.screen_text(),
        cursor: Some(emulator.cursor()),
        title: emulator.title().to_owned(),
    }
}

/// A line of its own that says what was lost, after whatever the output before that had begun.
fn mark_of(hole: Option<Hole>) -> Vec<u8> {
    hole.map_or_else(Vec::new, |hole| {
        format!("\x18\r\n\x1b[7m{hole}\x1b[27m\r\n").into_bytes()
    })
}

pub(super) fn size(size: agentd_api::Size) -> agentd_terminal::Size {
    // Sizes were checked at the door.
    agentd_terminal::Size::new(size.cols, size.rows)
        .unwrap_or_else(|error| unreachable!("{error}: {size:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Terminal;

    /// Output that no screen can read.
    pub const POISON: &[u8] = b"poison";

    fn terminal(output: &[u8]) -> Terminal {
        let terminal = Terminal::new(agentd_api::Size { cols: 80, rows: 24 }, 1 << 20);
        terminal.push(output);
        assert!(terminal.begin_reading());
        while terminal.read_step().more {}
        terminal
    }

    #[test]
    fn a_screen_that_panics_reads_what_follows() {
        let terminal = terminal(POISON);
        assert_eq!(
            terminal.credit(),
            Terminal::new(terminal.log().size(), 0).credit()
        );
        terminal.push(b"after");
        assert!(terminal.begin_reading());
        while terminal.read_step().more {}
        assert_eq!(terminal.last_lines(1).unwrap().1, ["after"]);
    }

    #[test]
    fn a_reader_does_not_wait_for_a_screen_that_is_in_use() {
        let log = terminal(b"");
        let log = log.log();
        let screen = Screen::new(log.cursor(None));
        log.append(&b"line\r\n".repeat(100_000), 0);
        while screen.advance(log).more {}
        let held = screen.lock();
        let (sender, marked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(screen.mark_from(1).is_some()));
            let marked = marked.recv_timeout(Duration::from_secs(60));
            drop(held);
            assert_eq!(marked, Ok(true));
        });
    }

    #[test]
    fn a_screen_that_was_put_away_keeps_no_snapshot_for_its_viewers() {
        let log = terminal(b"");
        let screen = Screen::new(log.log().cursor(None));
        screen.advance(log.log());
        assert!(screen.put_away(Duration::ZERO));
        screen.snapshot();
        assert!(screen.lock().snapshot.is_none());
    }
}
