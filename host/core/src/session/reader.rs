use agentd_terminal::Transcript;
use bytes::Bytes;

use super::marks::Mark;
use super::screen::size;
use super::{Cursor, Next, Terminal};

/// So much output is made into lines before others get a turn, in bytes.
pub(super) const STEP: usize = 4 * 1024;

/// So much work is done for it; see [`agentd_terminal::Emulator::work`].
const WORK: u64 = 32 * 1024;

/// Reads the output that is kept as lines, a step at a time.
pub(super) struct Reader<'a> {
    terminal: &'a Terminal,
    cursor: Cursor,
    transcript: Transcript,
    /// The state at a position ahead, which the output that is kept does not make by itself.
    ahead: Option<Mark>,
    /// Says what was lost before the next line.
    lost: Option<String>,
    /// Output that has been taken from the log and not been read yet.
    taken: Bytes,
}

pub(super) enum Read {
    /// The lines that a step has completed; there may be more to read.
    Lines(Vec<String>),
    Nothing,
    Ended,
}

impl<'a> Reader<'a> {
    pub fn new(terminal: &'a Terminal) -> Self {
        let cursor = terminal.log().cursor(None);
        let hole = terminal.log().hole();
        let hole = hole.filter(|hole| hole.to == cursor.seq);
        let mut reader = Reader {
            terminal,
            cursor,
            transcript: Transcript::new(size(cursor.size)),
            ahead: None,
            lost: hole.map(|hole| hole.to_string()),
            taken: Bytes::new(),
        };
        if cursor.seq > 0 {
            reader.begin_late();
        }
        reader
    }

    /// The output before is not there.
    fn begin_late(&mut self) {
        self.ahead = self.terminal.mark_from(self.cursor.seq);
        self.ahead = self.ahead.take().filter(|mark| !mark.snapshot.is_empty());
        let alternate = self
            .ahead
            .as_ref()
            .is_some_and(|mark| self.is_alternate_before(mark));
        self.transcript = Transcript::begun_late(size(self.cursor.size), alternate);
    }

    /// Whether the alternate screen is shown here: what changes that first before the mark says so.
    fn is_alternate_before(&self, mark: &Mark) -> bool {
        let mut cursor = self.cursor;
        let mut between = Vec::new();
        while cursor.seq < mark.cursor.seq {
            match self.terminal.log().next(&mut cursor) {
                Next::Output(bytes) => between.extend_from_slice(&bytes),
                Next::Resize(_) => {}
                Next::Nothing | Next::Ended | Next::Lost => break,
            }
        }
        let first = |sequence: &[u8; 8]| {
            let mut places = between.windows(sequence.len());
            places.position(|place| place == sequence)
        };
        match (first(b"\x1b[?1049h"), first(b"\x1b[?1049l")) {
            (None, None) => mark.alternate,
            (entered, left) => left.unwrap_or(usize::MAX) < entered.unwrap_or(usize::MAX),
        }
    }

    /// Reads a step on, at most up to the position `head`, and lets others have their turn.
    pub async fn read(&mut self, head: u64) -> Read {
        if let Some(lost) = self.lost.take() {
            return Read::Lines(vec![lost]);
        }
        while self.taken.is_empty() {
            if self.cursor.seq >= head {
                return Read::Nothing;
            }
            let mut end = head;
            if let Some(mark) = &self.ahead {
                end = end.min(mark.cursor.seq);
                if self.cursor.seq >= mark.cursor.seq {
                    self.transcript
                        .adopt(size(mark.cursor.size), &mark.snapshot);
                    self.transcript.resize(size(self.cursor.size));
                    self.ahead = None;
                    continue;
                }
            }
            match self.terminal.log().next(&mut self.cursor) {
                Next::Output(mut bytes) => {
                    let beyond = self.cursor.seq.saturating_sub(end);
                    let beyond = usize::try_from(beyond).unwrap_or(usize::MAX);
                    bytes.truncate(bytes.len().saturating_sub(beyond));
                    self.cursor.seq -= beyond as u64;
                    self.taken = bytes;
                }
                Next::Resize(new) => self.transcript.resize(size(new)),
                Next::Lost => {
                    let from = self.cursor.seq;
                    self.cursor = self.after_loss(head);
                    return self.passed_over(from);
                }
                Next::Nothing => return Read::Nothing,
                Next::Ended => return Read::Ended,
            }
        }
        tokio::task::yield_now().await;
        let step = &self.taken[..self.taken.len().min(STEP)];
        let read = self.transcript.advance_within(step, WORK);
        self.taken = self.taken.split_off(read);
        Read::Lines(self.transcript.take_lines())
    }

    /// Where to go on when what came next is not kept any more. One without an end goes on as far ahead as the
    /// screen is known: at the oldest output it would be too slow again at once.
    fn after_loss(&self, head: u64) -> Cursor {
        let log = self.terminal.log();
        let newest = match head {
            u64::MAX => self.terminal.newest_mark_from(log.tail()),
            _ => None,
        };
        log.cursor(newest.map(|mark| mark.cursor.seq))
    }

    /// The lines so far, and one that says what this reader was too slow for.
    fn passed_over(&mut self, from: u64) -> Read {
        let passed = self.cursor.seq.saturating_sub(from);
        let mut lines = self.finish();
        lines.push(format!(
            "[agentd: {passed} bytes of output were passed over here: they came faster than they were read]"
        ));
        self.begin_late();
        Read::Lines(lines)
    }

    /// What the alternate screen shows there, while that is shown.
    pub fn alternate_screen(&self) -> Option<Vec<String>> {
        self.transcript.alternate_screen()
    }

    /// The lines that are complete though they are on the screen, when there is no more to read now.
    pub fn settle(&mut self) -> Vec<String> {
        self.transcript.settle();
        self.transcript.take_lines()
    }

    /// The end: also the lines that are on the screen.
    pub fn finish(&mut self) -> Vec<String> {
        let fresh = Transcript::new(size(self.cursor.size));
        std::mem::replace(&mut self.transcript, fresh).finish()
    }
}

#[cfg(test)]
mod tests {
    use agentd_api::Size;

    use super::*;
    use crate::session::Beginning;

    const SIZE: Size = Size { cols: 40, rows: 10 };

    fn push(terminal: &Terminal, output: &str) {
        terminal.push(output.as_bytes());
        if terminal.begin_reading() {
            while terminal.read_step().more {}
        }
    }

    async fn lines(terminal: &Terminal) -> Vec<String> {
        let mut reader = Reader::new(terminal);
        let mut lines = Vec::new();
        while let Read::Lines(more) = reader.read(terminal.log().head()).await {
            lines.extend(more);
        }
        lines.extend(reader.finish());
        lines
    }

    /// The status below is redrawn so often that the output of what stands above is not kept any more.
    #[tokio::test]
    async fn what_the_screen_shows_is_read_though_its_output_is_not_kept() {
        let terminal = Terminal::new(SIZE, 0);
        push(&terminal, "once\r\n\r\n");
        for n in 0..40_000 {
            push(&terminal, &format!("\x1b[1A\x1b[Kstep {n}\r\n"));
        }
        assert!(terminal.log().tail() > 0);
        assert_eq!(lines(&terminal).await, ["once", "step 39999"]);
    }

    #[tokio::test]
    async fn a_full_screen_program_is_read_as_such_though_its_beginning_is_not_kept() {
        let terminal = Terminal::new(SIZE, 0);
        push(&terminal, "$ full\r\n\x1b[?1049h\x1b[Htitle");
        for n in 0..40_000 {
            push(&terminal, &format!("\x1b[3;1Hrow {n}\r\n"));
        }
        assert_eq!(lines(&terminal).await, ["$ full", "title", "", "row 39999"]);
        // What is kept begins on the alternate screen, and goes on after it.
        push(&terminal, "\x1b[?1049l");
        for n in 0..2000 {
            push(&terminal, &format!("after {n}\r\n"));
        }
        let lines = lines(&terminal).await;
        let after = lines.iter().filter(|line| line.starts_with("after "));
        assert_eq!(after.count(), 2000);
        assert!(lines.len() <= 2004, "{:?}", &lines[..10]);
    }

    #[tokio::test]
    async fn much_output_begins_where_it_is_kept() {
        let terminal = Terminal::new(SIZE, 0);
        for n in 0..100_000 {
            push(&terminal, &format!("line {n}\r\n"));
        }
        let lines = lines(&terminal).await;
        assert!(lines.len() > 8_000, "{}", lines.len());
        for (index, line) in lines.iter().skip(1).enumerate() {
            let n = 100_001 - lines.len() + index;
            assert_eq!(*line, format!("line {n}"));
        }
    }

    #[tokio::test]
    async fn a_follower_that_was_too_slow_goes_on_near_the_end() {
        let terminal = Terminal::new(SIZE, 0);
        push(&terminal, "first\r\n");
        let mut reader = Reader::new(&terminal);
        assert!(matches!(reader.read(u64::MAX).await, Read::Lines(_)));
        for n in 0..30_000 {
            push(&terminal, &format!("line {n}\r\n"));
        }
        let log = terminal.log();
        assert!(log.tail() > 7);
        let Read::Lines(lines) = reader.read(u64::MAX).await else {
            panic!("nothing was passed over");
        };
        assert!(lines.last().unwrap().contains("were passed over here"));
        let behind = log.head() - reader.cursor.seq;
        assert!(behind <= log.capacity() / 2, "{behind} bytes behind");
        let mut lines = Vec::new();
        while let Read::Lines(more) = reader.read(u64::MAX).await {
            lines.extend(more);
        }
        lines.extend(reader.finish());
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("line {}", 30_000 - lines.len() + index));
        }
        assert!(lines.len() >= 9);
    }

    #[tokio::test]
    async fn a_later_daemon_reads_what_the_earlier_one_had_on_its_screen() {
        let first = Terminal::new(SIZE, 0);
        push(&first, "one\r\ntwo\r\n");
        let checkpoint = first.checkpoint(0).unwrap();
        let beginning = Beginning {
            first: checkpoint.cursor.seq,
            checkpoint: Some(checkpoint),
            ..Beginning::default()
        };
        let second = Terminal::resumed(SIZE, 0, beginning);
        push(&second, "\x1b[1A\x1b[Ktwice\r\nthree");
        assert_eq!(lines(&second).await, ["one", "twice", "three"]);
    }
}
