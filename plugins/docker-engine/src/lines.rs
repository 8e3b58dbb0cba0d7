//! The lines of a log.

use agentd_plugin_api::prelude::*;

use crate::agent::Failure;

/// A line without an end is cut here, so that it cannot fill the memory.
const LONGEST_LINE: usize = 1 << 20;

/// The only line of an agent that never started.
pub fn report(failure: &Failure) -> LogLine {
    LogLine {
        ts: Some(failure.at.to_string()),
        stream: Some(LogStream::Stderr),
        line: failure.error.message.clone(),
    }
}

/// Whether a query for lines since then is for this one.
pub fn wanted(line: &LogLine, since_ms: Option<i64>) -> bool {
    let written = line
        .ts
        .as_deref()
        .and_then(|ts| ts.parse::<jiff::Timestamp>().ok());
    match (since_ms, written) {
        (Some(since), Some(written)) => written.as_millisecond() >= since,
        _ => true,
    }
}

/// Puts lines together from what the engine sends.
///
/// Without a terminal that is one frame per write of at most 16 KiB, each with a timestamp of its
/// own; a long line comes in several frames, of which the last ends it. With a terminal it is a
/// plain stream, with a timestamp at the beginning of each line.
pub struct Lines {
    tty: bool,
    stdout: Partial,
    stderr: Partial,
}

#[derive(Default)]
struct Partial {
    ts: Option<String>,
    text: Vec<u8>,
}

impl Lines {
    /// `tty`: the agent has a terminal.
    pub fn new(tty: bool) -> Lines {
        Lines {
            tty,
            stdout: Partial::default(),
            stderr: Partial::default(),
        }
    }

    /// The lines that these bytes complete.
    pub fn push(&mut self, stream: LogStream, bytes: &[u8]) -> Vec<LogLine> {
        let partial = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.tty {
                partial.text.extend_from_slice(piece);
            } else {
                let (ts, text) = split_timestamp(piece);
                partial.ts = partial.ts.take().or(ts);
                partial.text.extend_from_slice(text);
            }
            if piece.ends_with(b"\n") || partial.text.len() >= LONGEST_LINE {
                complete.push(partial.finish(stream, self.tty));
            }
        }
        complete
    }

    /// Lines whose end never came.
    pub fn rest(mut self) -> Vec<LogLine> {
        let mut rest = Vec::new();
        for (stream, partial) in [
            (LogStream::Stdout, &mut self.stdout),
            (LogStream::Stderr, &mut self.stderr),
        ] {
            if !partial.text.is_empty() {
                rest.push(partial.finish(stream, self.tty));
            }
        }
        rest
    }
}

impl Partial {
    fn finish(&mut self, stream: LogStream, tty: bool) -> LogLine {
        let Partial { mut ts, text } = std::mem::take(self);
        let mut text = text.as_slice();
        if tty {
            (ts, text) = split_timestamp(text);
        }
        text = text.strip_suffix(b"\n").unwrap_or(text);
        text = text.strip_suffix(b"\r").unwrap_or(text);
        LogLine {
            ts,
            stream: Some(stream),
            line: String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// `2026-11-23T01:15:46.706343137Z text`
fn split_timestamp(line: &[u8]) -> (Option<String>, &[u8]) {
    let space = line.iter().take(40).position(|byte| *byte == b' ');
    let found = space.and_then(|space| {
        let ts = std::str::from_utf8(&line[..space]).ok()?;
        ts.parse::<jiff::Timestamp>().ok()?;
        Some((Some(ts.to_owned()), &line[space + 1..]))
    });
    found.unwrap_or((None, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: &str = "2026-11-23T01:15:46.706343137Z";
    const T2: &str = "2026-11-23T01:15:47.000000000Z";

    fn line(ts: &str, stream: LogStream, text: &str) -> LogLine {
        LogLine {
            ts: Some(ts.to_owned()),
            stream: Some(stream),
            line: text.to_owned(),
        }
    }

    #[test]
    fn frames_of_one_line_are_joined_per_stream() {
        let mut lines = Lines::new(false);
        assert_eq!(
            lines.push(LogStream::Stdout, format!("{T1} ab").as_bytes()),
            []
        );
        assert_eq!(
            lines.push(LogStream::Stderr, format!("{T1} oh\n").as_bytes()),
            [line(T1, LogStream::Stderr, "oh")]
        );
        assert_eq!(
            lines.push(LogStream::Stdout, format!("{T2} cd\n").as_bytes()),
            [line(T1, LogStream::Stdout, "abcd")]
        );
        lines.push(LogStream::Stdout, format!("{T2} no end").as_bytes());
        assert_eq!(lines.rest(), [line(T2, LogStream::Stdout, "no end")]);
    }

    #[test]
    fn a_terminals_lines_may_be_cut_anywhere() {
        let all = format!("{T1} one\r\n{T2} two\r\n");
        for cut in 0..all.len() {
            let (left, right) = all.as_bytes().split_at(cut);
            let mut lines = Lines::new(true);
            let mut found = lines.push(LogStream::Stdout, left);
            found.extend(lines.push(LogStream::Stdout, right));
            let expected = [
                line(T1, LogStream::Stdout, "one"),
                line(T2, LogStream::Stdout, "two"),
            ];
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_empty_line_is_a_line() {
        let mut lines = Lines::new(false);
        let found = lines.push(LogStream::Stdout, format!("{T1} \n").as_bytes());
        assert_eq!(found, [line(T1, LogStream::Stdout, "")]);
    }
}
