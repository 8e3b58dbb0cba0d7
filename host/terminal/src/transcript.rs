use crate::params::Params;
use crate::parser::{Actions, Parser};

/// A line is ended here when the program does not.
const LONGEST_LINE: usize = 4096;

/// Turns output, in any pieces, into lines of plain text: what a log shows.
///
/// Escape sequences go, carriage returns and backspaces overwrite as they would on a screen
/// (a progress bar leaves its last state), and erasing the line takes effect. Cursor movements
/// beyond the line do not: a full-screen program's transcript is rough by nature.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    parser: Parser,
    line: Line,
}

impl Transcript {
    /// An empty transcript.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads output and answers the lines that it completes.
    pub fn advance(&mut self, bytes: &[u8]) -> Vec<String> {
        self.parser.advance(bytes, &mut self.line);
        std::mem::take(&mut self.line.completed)
    }

    /// The line that is not complete yet, as it stands.
    pub fn unfinished(&self) -> String {
        self.line.text()
    }

    /// Ends the transcript: the last line, if the output did not end with a line feed.
    pub fn finish(mut self) -> Option<String> {
        (!self.line.is_fresh()).then(|| self.line.take())
    }
}

#[derive(Debug, Clone, Default)]
struct Line {
    chars: Vec<char>,
    /// Index of the character that the next one replaces.
    at: usize,
    completed: Vec<String>,
}

impl Line {
    fn text(&self) -> String {
        let text: String = self.chars.iter().collect();
        text.trim_end().to_string()
    }

    fn is_fresh(&self) -> bool {
        self.chars.is_empty()
    }

    fn take(&mut self) -> String {
        let text = self.text();
        self.chars.clear();
        self.at = 0;
        text
    }

    fn end(&mut self) {
        let text = self.take();
        self.completed.push(text);
    }

    fn write(&mut self, c: char) {
        if self.at >= LONGEST_LINE {
            self.end();
        }
        if self.at > self.chars.len() {
            self.chars.resize(self.at, ' ');
        }
        if self.at == self.chars.len() {
            self.chars.push(c);
        } else {
            self.chars[self.at] = c;
        }
        self.at += 1;
    }

    fn move_to(&mut self, at: usize) {
        self.at = at.min(LONGEST_LINE);
    }
}

impl Actions for Line {
    fn work(&self) -> u64 {
        0
    }

    fn add_work(&mut self, _: usize) {}

    fn print_ascii(&mut self, text: &[u8]) {
        text.iter().for_each(|&byte| self.write(char::from(byte)));
    }

    fn print(&mut self, c: char) {
        self.write(c);
    }

    fn control(&mut self, code: u8) {
        match code {
            b'\n' | 0x0b | 0x0c | 0x84 | 0x85 => self.end(),
            b'\r' => self.at = 0,
            0x08 => self.at = self.at.saturating_sub(1),
            b'\t' => self.move_to((self.at / 8 + 1) * 8),
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        if intermediates.is_empty() && matches!(last, b'D' | b'E') {
            self.end();
        }
    }

    fn csi(&mut self, params: &Params, last: u8) {
        if params.prefix() != 0 || params.intermediates() != [0, 0] {
            return;
        }
        let count = params.count(0);
        match last {
            b'C' => self.move_to(self.at.saturating_add(count)),
            b'D' => self.at = self.at.saturating_sub(count),
            b'G' => self.move_to(count - 1),
            // To another line, or to a new screen: what was written stays written.
            b'H' | b'f' | b'A' | b'B' | b'E' | b'F' | b'd' if !self.is_fresh() => self.end(),
            b'J' if params.get(0) == 2 && !self.is_fresh() => self.end(),
            b'K' => match params.get(0) {
                0 => self.chars.truncate(self.at),
                1 => {
                    let end = self.chars.len().min(self.at.saturating_add(1));
                    self.chars[..end].fill(' ');
                }
                2 => self.chars.clear(),
                _ => {}
            },
            _ => {}
        }
    }

    fn osc(&mut self, _: &[u8]) {}

    fn dcs(&mut self, _: &Params, _: u8, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(output: &str) -> Vec<String> {
        let mut transcript = Transcript::new();
        let mut lines = transcript.advance(output.as_bytes());
        lines.extend(transcript.finish());
        lines
    }

    #[test]
    fn plain_text() {
        assert_eq!(lines("one\r\ntwo\n\nfour"), ["one", "two", "", "four"]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn escape_sequences_are_removed() {
        assert_eq!(
            lines("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\n"),
            ["red text"]
        );
        assert_eq!(lines("a\x1bPq#0\x1b\\b\x1b_x\x1b\\c\x1b(0d\n"), ["abcd"]);
    }

    #[test]
    fn overwriting() {
        assert_eq!(lines("10%\r20%\r100%\n"), ["100%"]);
        assert_eq!(lines("abcdef\rxy\n"), ["xycdef"]);
        assert_eq!(lines("abcdef\r\x1b[Kxy\n"), ["xy"]);
        assert_eq!(lines("abc\x08\x08X\n"), ["aXc"]);
        assert_eq!(lines("a\tb\n"), ["a       b"]);
        assert_eq!(lines("abc\x1b[2D\x1b[1K|\n"), [" |c"]);
    }

    #[test]
    fn lines_are_bounded() {
        let lines = lines(&format!(
            "{}\n\x1b[999999Cx\n",
            "y".repeat(LONGEST_LINE + 1)
        ));
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE));
    }

    proptest! {
        #[test]
        fn output_may_be_cut_anywhere(text in "(é|漢|[a-z]|\x1b\\[3[0-7]m|\r|\n|\x08){0,60}", cut in 0..200_usize) {
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut transcript = Transcript::new();
            let mut cut_lines = transcript.advance(first);
            cut_lines.extend(transcript.advance(second));
            cut_lines.extend(transcript.finish());
            prop_assert_eq!(cut_lines, lines(&text));
        }
    }
}
