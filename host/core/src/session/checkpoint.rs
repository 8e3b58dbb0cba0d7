use agentd_api::Size;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::log::{Cursor, Hole, Sizes};
use crate::{Error, Result};

/// The state of a terminal at a position, as a daemon leaves it for a later one, which may be of
/// another version: in bytes it is a line of JSON, whose fields only ever grow in number, and what
/// brings a fresh terminal to that state.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The position, and the size there.
    pub cursor: Cursor,
    /// The sizes around it, those that were set later included.
    pub sizes: Sizes,
    /// Up to this position, which may be a later one, the program's questions were answered, or the
    /// answers are `unsent`.
    pub answered: u64,
    /// Answers that the program may not have got yet.
    pub unsent: Vec<u8>,
    /// Whether the program wanted pastes marked.
    pub bracketed_paste: bool,
    /// The last lines that were not empty.
    pub last_lines: Vec<String>,
    /// The output that was lost last.
    pub hole: Option<Hole>,
    /// What a snapshot has.
    pub snapshot: Bytes,
}

/// Where the terminal of a session begins that an earlier daemon had.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// The newest that was left, if the earlier daemon got so far.
    pub checkpoint: Option<Checkpoint>,
    /// The position of the oldest output that is still there.
    pub first: u64,
    /// The output from there on, so far. A viewer that comes back at once may have seen all of it.
    pub output: Vec<u8>,
    /// The size that the program's terminal has, if that is known.
    pub size: Option<Size>,
    /// What the program asked before this position was answered, whatever the checkpoint says.
    pub answered: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    seq: u64,
    size: Size,
    size_before: Size,
    #[serde(default)]
    resizes: Vec<(u64, Size)>,
    #[serde(default)]
    answered: u64,
    #[serde(default)]
    unsent: Vec<u8>,
    #[serde(default)]
    bracketed_paste: bool,
    #[serde(default)]
    last_lines: Vec<String>,
    #[serde(default)]
    hole: Option<(u64, u64)>,
}

impl Checkpoint {
    /// As bytes.
    pub fn encode(&self) -> Result<Bytes> {
        let head = Head {
            seq: self.cursor.seq,
            size: self.cursor.size,
            size_before: self.sizes.before,
            resizes: self.sizes.changes.clone(),
            answered: self.answered,
            unsent: self.unsent.clone(),
            bracketed_paste: self.bracketed_paste,
            last_lines: self.last_lines.clone(),
            hole: self.hole.map(|hole| (hole.from, hole.to)),
        };
        let head = serde_json::to_vec(&head)
            .map_err(|error| Error::internal(format!("writing a checkpoint: {error}")))?;
        let mut bytes = BytesMut::with_capacity(head.len() + 1 + self.snapshot.len());
        bytes.put_slice(&head);
        bytes.put_u8(b'\n');
        bytes.put_slice(&self.snapshot);
        Ok(bytes.freeze())
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = |why: &str| Error::internal(format!("an unreadable checkpoint: {why}"));
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| unreadable("it has no first line"))?;
        let head: Head = serde_json::from_slice(&bytes[..end])
            .map_err(|error| unreadable(&error.to_string()))?;
        let sizes = head.resizes.iter().map(|(_, size)| *size);
        for size in sizes.chain([head.size, head.size_before]) {
            super::parse_size(size.cols.into(), size.rows.into())?;
        }
        Ok(Checkpoint {
            cursor: Cursor {
                seq: head.seq,
                size: head.size,
            },
            sizes: Sizes {
                before: head.size_before,
                changes: head.resizes,
            },
            answered: head.answered,
            unsent: head.unsent,
            bracketed_paste: head.bracketed_paste,
            last_lines: head.last_lines,
            hole: head.hole.map(|(from, to)| Hole { from, to }),
            snapshot: Bytes::copy_from_slice(&bytes[end + 1..]),
        })
    }
}

impl Beginning {
    /// Where the screen goes on; `size` is that of the program's start. Behind the checkpoint's
    /// position where what followed is not there any more.
    pub(super) fn cursor(&self, size: Size) -> Cursor {
        let left = self.checkpoint.as_ref().map(|left| left.cursor);
        let left = left.unwrap_or(Cursor { seq: 0, size });
        Cursor {
            seq: left.seq.max(self.first),
            ..left
        }
    }

    /// The position before which all questions were answered, but for these answers, which the program
    /// may not have got.
    pub(super) fn answers(&self) -> (u64, Vec<u8>) {
        match &self.checkpoint {
            Some(left) if left.answered > self.answered => (left.answered, left.unsent.clone()),
            _ => (self.answered, Vec::new()),
        }
    }

    /// What was lost last, now or before.
    pub(super) fn hole(&self) -> Option<Hole> {
        let left = self.checkpoint.as_ref();
        let from = left.map_or(0, |left| left.cursor.seq);
        match self.first > from {
            true => Some(Hole {
                from,
                to: self.first,
            }),
            false => left?.hole,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::Terminal;

    const SIZE: Size = Size { cols: 80, rows: 24 };

    fn read_all(terminal: &Terminal) -> Vec<u8> {
        assert!(terminal.begin_reading());
        let mut replies = Vec::new();
        loop {
            let step = terminal.read_step();
            replies.extend(step.replies);
            if !step.more {
                return replies;
            }
        }
    }

    /// What happens to a terminal.
    #[derive(Clone, Debug)]
    enum Step {
        Print(String),
        Resize(Size),
        /// The screen reads on.
        Read,
        Leave,
    }

    fn step() -> impl Strategy<Value = Step> {
        let print = prop_oneof![
            Just("\x1b[?1049h\x1b[2J".to_owned()),
            Just("\x1b[?1049l\x1b[?2004h".to_owned()),
            Just("\x1b]2;a title\x1b\\".to_owned()),
            Just("漢字 e\u{301}".to_owned()),
            (0..30, 0..100).prop_map(|(row, column)| format!("\x1b[{row};{column}H")),
            (0..256).prop_map(|colour| format!("\x1b[38;5;{colour}mcolour\x1b[4m")),
            (1..30_usize).prop_map(|count| "\r\n".repeat(count)),
            (0..1000).prop_map(|n| format!("line {n} of much\r\n")),
        ];
        let size = (20..100_u16, 20..40_u16).prop_map(|(cols, rows)| Size { cols, rows });
        prop_oneof![
            12 => print.prop_map(Step::Print),
            1 => size.prop_map(Step::Resize),
            3 => Just(Step::Read),
            1 => Just(Step::Leave),
        ]
    }

    proptest! {
        /// Whenever a daemon is killed, the terminal is the same afterwards.
        #[test]
        fn what_goes_on_from_a_checkpoint_is_as_if_there_had_been_no_end(
            steps in prop::collection::vec(step(), 1..200),
            before in 0..1000_u64,
            after in 0..1000_usize,
        ) {
            let whole = Terminal::new(SIZE, 1 << 20);
            let first = Terminal::new(SIZE, 1 << 20);
            first.push(b"");
            let mut output = Vec::new();
            let mut left = None;
            for step in steps {
                match step {
                    Step::Print(text) => {
                        // Also in the middle of a sequence.
                        let (one, other) = text.as_bytes().split_at(text.len() / 2);
                        for bytes in [one, other] {
                            whole.push(bytes);
                            first.push(bytes);
                            output.extend_from_slice(bytes);
                        }
                    }
                    // Left before the program is notified.
                    Step::Resize(size) => {
                        whole.log().resize(size);
                        first.log().resize(size);
                        left = first.checkpoint(0);
                    }
                    // A size that no screen has read may be passed over.
                    Step::Read => {
                        read_all(&first);
                        read_all(&whole);
                    }
                    Step::Leave => left = first.checkpoint(0),
                }
            }
            read_all(&whole);
            let encoded = left.map(|left| left.encode().unwrap());
            let checkpoint = encoded.map(|bytes| Checkpoint::decode(&bytes).unwrap());
            let seq = checkpoint.as_ref().map_or(0, |left| left.cursor.seq);
            let oldest = seq.saturating_sub(before);
            let until = output.len().min(seq as usize + after);
            let beginning = Beginning {
                checkpoint,
                first: oldest,
                output: output[oldest as usize..until].to_vec(),
                size: None,
                answered: 0,
            };
            let second = Terminal::resumed(SIZE, 1 << 20, beginning);
            second.push(&output[until..]);
            read_all(&second);
            prop_assert_eq!(second.log().head(), output.len() as u64);
            prop_assert_eq!(second.log().size(), whole.log().size());
            let (expected, found) = (whole.snapshot().unwrap(), second.snapshot().unwrap());
            prop_assert_eq!(found.cursor, expected.cursor);
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            prop_assert_eq!(text(&found.bytes), text(&expected.bytes));
            prop_assert!(second.log().keeps(oldest));
            prop_assert!(oldest == 0 || !second.log().keeps(oldest - 1));
        }
    }

    #[test]
    fn what_was_answered_is_not_answered_again() {
        let fresh = Terminal::new(SIZE, 1 << 20);
        fresh.push(b"");
        let resumed = |answered| {
            let checkpoint = fresh.checkpoint(0).map(|checkpoint| Checkpoint {
                answered,
                ..checkpoint
            });
            let beginning = Beginning {
                checkpoint,
                ..Beginning::default()
            };
            let terminal = Terminal::resumed(SIZE, 1 << 20, beginning);
            terminal.push(b"ab\x1b[6n");
            terminal.push(b"cd\x1b[6n");
            read_all(&terminal)
        };
        assert_eq!(resumed(0), b"\x1b[1;3R\x1b[1;5R");
        assert_eq!(resumed(6), b"\x1b[1;5R");
        assert_eq!(resumed(12), b"");
        let left = |answered, noted| {
            let checkpoint = fresh.checkpoint(0).map(|checkpoint| Checkpoint {
                answered,
                unsent: b"answer".to_vec(),
                ..checkpoint
            });
            let beginning = Beginning {
                checkpoint,
                answered: noted,
                ..Beginning::default()
            };
            beginning.answers()
        };
        assert_eq!(left(6, 0), (6, b"answer".to_vec()));
        assert_eq!(left(6, 6), (6, Vec::new()));
        assert_eq!(left(6, 12), (12, Vec::new()));
    }

    #[test]
    fn output_that_was_dropped_is_passed_over() {
        let terminal = Terminal::new(SIZE, 1 << 20);
        terminal.push(b"before\r\n");
        read_all(&terminal);
        let second = Terminal::resumed(
            SIZE,
            1 << 20,
            Beginning {
                checkpoint: terminal.checkpoint(0),
                first: 1000,
                ..Beginning::default()
            },
        );
        second.push(b"after");
        read_all(&second);
        assert_eq!(second.log().head(), 1005);
        let (_, lines) = second.last_lines(3).unwrap();
        let lost = second.log().hole().unwrap();
        assert_eq!((lost.from, lost.to), (8, 1000));
        assert_eq!(lines, ["before", &lost.to_string(), "after"]);
        // A later daemon knows of it, and does not mark it again.
        let left = second.checkpoint(0).unwrap().encode().unwrap();
        let third = Beginning {
            checkpoint: Some(Checkpoint::decode(&left).unwrap()),
            first: 1000,
            output: b"after".to_vec(),
            ..Beginning::default()
        };
        let third = Terminal::resumed(SIZE, 1 << 20, third);
        assert_eq!(third.log().hole(), Some(lost));
        read_all(&third);
        assert_eq!(third.last_lines(3).unwrap().1, lines);
    }

    #[test]
    fn nothing_unreadable_is_taken() {
        for bytes in [&b""[..], b"{}\n", b"not json\n", b"{\"seq\":1}"] {
            assert!(Checkpoint::decode(bytes).is_err());
        }
        let size = r#"{"cols":0,"rows":0}"#;
        let head = format!("{{\"seq\":1,\"size\":{size},\"size_before\":{size}}}\n");
        assert!(Checkpoint::decode(head.as_bytes()).is_err());
    }
}
