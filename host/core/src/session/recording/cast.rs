use std::fmt;
use std::str::from_utf8;
use std::time::{Duration, Instant};

use agentd_api::Size;
use serde::{Deserialize, Serialize};

use crate::session::Cursor;

/// The first line of a cast: <https://docs.asciinema.org/manual/asciicast/v3/>.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    version: u8,
    term: Size,
    /// Seconds since 1970.
    timestamp: u64,
    title: String,
    agentd: Origin,
}

/// What other programs pass over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The session's id.
    pub session: String,
    /// Which part of its recording this is, from 1 on.
    pub part: u32,
    /// Whether the first event brings the screen to what it was before this part.
    pub restored: bool,
}

impl Header {
    pub fn new(size: Size, timestamp: u64, title: String, agentd: Origin) -> Self {
        Header {
            version: 3,
            term: size,
            timestamp,
            title,
            agentd,
        }
    }

    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub fn is_restored(&self) -> bool {
        self.agentd.restored
    }
}

/// The lines of a cast that are to be written. Output is made into text here: a character that comes
/// in pieces is put together, and what is none is left out, as terminals show nothing for it.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The beginning of a character whose rest has not come.
    partial: Vec<u8>,
    /// When the last event was; the next one says how long after that it comes.
    last: Instant,
}

impl Lines {
    /// What follows an event at that time.
    pub fn after(last: Instant) -> Self {
        Lines {
            bytes: Vec::new(),
            partial: Vec::new(),
            last,
        }
    }

    pub fn header(&mut self, header: &Header) {
        self.json(header);
        self.bytes.push(b'\n');
    }

    pub fn output(&mut self, now: Instant, bytes: &[u8]) {
        if self.partial.is_empty()
            && let Ok(text) = from_utf8(bytes)
        {
            return self.text(now, text);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let mut text = String::with_capacity(joined.len());
        let mut rest = &joined[..];
        while let Err(error) = from_utf8(rest) {
            let (valid, other) = rest.split_at(error.valid_up_to());
            text.push_str(from_utf8(valid).unwrap_or_default());
            let Some(invalid) = error.error_len() else {
                self.partial = other.to_vec();
                rest = &[];
                break;
            };
            rest = &other[invalid..];
        }
        text.push_str(from_utf8(rest).unwrap_or_default());
        self.text(now, &text);
    }

    fn text(&mut self, now: Instant, text: &str) {
        if !text.is_empty() {
            self.event(now, "o", text);
        }
    }

    pub fn resize(&mut self, now: Instant, size: Size) {
        self.event(now, "r", &Shown(size).to_string());
    }

    pub fn marker(&mut self, now: Instant, label: &str) {
        self.event(now, "m", label);
    }

    pub fn exit(&mut self, now: Instant, status: i32) {
        self.event(now, "x", &status.to_string());
    }

    /// The rest of a character that has begun is not there.
    pub fn drop_character(&mut self) {
        self.partial.clear();
    }

    fn event(&mut self, now: Instant, code: &str, data: &str) {
        let micros = now.saturating_duration_since(self.last).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        // What is written, so that nothing adds up.
        self.last += Duration::from_micros(micros);
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let interval = format!("[{seconds}.{micros:06}, \"{code}\", ");
        self.bytes.extend_from_slice(interval.as_bytes());
        self.json(data);
        self.bytes.extend_from_slice(b"]\n");
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Neither a vector nor a text is refused.
        let _ = serde_json::to_writer(&mut self.bytes, value);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Up to where there are lines of what was read up to `cursor`: before a character that is not whole.
    pub fn position(&self, cursor: Cursor) -> Cursor {
        Cursor {
            seq: cursor.seq - self.partial.len() as u64,
            ..cursor
        }
    }

    /// The lines, with one that says how far they go: a later service goes on from there.
    pub fn take(&mut self, cursor: Cursor, ended: bool) -> Vec<u8> {
        let position = Position {
            cursor: self.position(cursor),
            ended,
        };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.extend_from_slice(position.to_string().as_bytes());
        bytes
    }
}

/// Up to where a recording goes, as a comment in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub cursor: Cursor,
    /// Whether the session has ended there.
    pub ended: bool,
}

impl Position {
    const START: &'static str = "# seq ";

    /// The last one in a file of lines, and the length of the file up to its end.
    pub fn last(file: &[u8]) -> Option<(Self, usize)> {
        let mut end = file.len();
        loop {
            let line_end = file[..end].iter().rposition(|byte| *byte == b'\n')?;
            let start = file[..line_end].iter().rposition(|byte| *byte == b'\n');
            let start = start.map_or(0, |before| before + 1);
            let line = from_utf8(&file[start..line_end]).ok();
            if let Some(position) = line.and_then(Self::parse) {
                return Some((position, line_end + 1));
            }
            end = start;
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(Self::START)?.split(' ');
        let seq = words.next()?.parse().ok()?;
        let (cols, rows) = words.next()?.split_once('x')?;
        let size = crate::session::parse_size(cols.parse().ok()?, rows.parse().ok()?).ok()?;
        Some(Position {
            cursor: Cursor { seq, size },
            ended: words.next() == Some("end"),
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { seq, size } = self.cursor;
        write!(f, "{}{seq} {}", Self::START, Shown(size))?;
        f.write_str(if self.ended { " end\n" } else { "\n" })
    }
}

struct Shown(Size);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.0.cols, self.0.rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURSOR: Cursor = Cursor {
        seq: 100,
        size: Size { cols: 80, rows: 24 },
    };

    /// The text of all output events.
    fn text(lines: &[u8]) -> String {
        let lines = from_utf8(lines).unwrap().lines();
        let events = lines.filter(|line| !line.starts_with('#'));
        let event = |line| {
            let (_, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
            assert_eq!(code, "o");
            data
        };
        events.map(event).collect()
    }

    proptest! {
        #[test]
        fn characters_that_come_in_pieces_are_whole(
            said in "\\PC{0,40}",
            noise in prop::collection::vec(any::<u8>(), 0..20),
            cut in 1..5_usize,
        ) {
            let now = Instant::now();
            let bytes = [said.as_bytes(), &noise, said.as_bytes(), b"."].concat();
            let mut lines = Lines::after(now);
            for piece in bytes.chunks(cut) {
                lines.output(now, piece);
            }
            let taken = lines.take(CURSOR, false);
            let valid: String = bytes.utf8_chunks().map(|chunk| chunk.valid()).collect();
            prop_assert_eq!(text(&taken), valid);
        }
    }

    #[test]
    fn a_later_service_goes_on_before_a_character_that_was_not_whole() {
        let now = Instant::now();
        let mut lines = Lines::after(now);
        lines.output(now, b"a\xe6\xbc");
        let taken = lines.take(CURSOR, false);
        let (position, length) = Position::last(&taken).unwrap();
        assert_eq!((position.cursor.seq, position.ended), (98, false));
        assert_eq!(length, taken.len());
        // Whatever was cut off after that.
        let torn = [&taken[..], b"[0.0, \"o\", \"half"].concat();
        assert_eq!(Position::last(&torn), Some((position, length)));
        let torn = [&taken[..], b"[0.0, \"o\", \"whole\"]\n# seq 1"].concat();
        assert_eq!(Position::last(&torn), Some((position, length)));
        assert_eq!(
            Position::last(b"{}\n[0.0, \"o\", \"# seq 1 80x24\"]\n"),
            None
        );
        assert_eq!(Position::last(b""), None);
    }

    #[test]
    fn intervals_add_up_to_the_time_that_went_by() {
        let start = Instant::now();
        let mut lines = Lines::after(start);
        for step in 1..=1000_u32 {
            lines.output(start + Duration::from_nanos(1_500) * step, b"x");
        }
        let taken = lines.take(CURSOR, true);
        let sum: f64 = from_utf8(&taken)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<(f64, String, String)>(line).ok())
            .map(|(interval, _, _)| interval)
            .sum();
        assert!((sum - 0.0015).abs() < 1e-9, "{sum}");
        assert!(Position::last(&taken).unwrap().0.ended);
    }
}
