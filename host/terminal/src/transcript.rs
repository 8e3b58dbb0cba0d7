use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cell::Text;
use crate::params::Params;
use crate::parser::{Actions, Parser};
use crate::row::Row;
use crate::size::Size;
use crate::terminal::Terminal;

/// A line is ended about here when the program does not.
const LONGEST_LINE: usize = 4096;

/// Turns output, in any pieces, into the lines that a person would have read.
///
/// An emulator reads the output. A line is complete when it has scrolled off the main screen, so it is
/// given once, in its last form, however often a program has drawn the lower part of its screen anew;
/// a line that was wrapped at the margin is one again. Those that are on the screen come with
/// [`finish`](Self::finish), or earlier with [`settle`](Self::settle) for who follows. What was erased
/// together with the whole main screen was read as well, but for the part that a program draws again
/// and again. The alternate screen gives what it showed last, when it is left.
#[derive(Debug, Clone)]
pub struct Transcript {
    parser: Parser,
    reading: Reading,
}

impl Transcript {
    /// Of a program that has written nothing on a terminal of this size.
    pub fn new(size: Size) -> Self {
        Transcript {
            parser: Parser::default(),
            reading: Reading::new(size),
        }
    }

    /// Of one whose earlier output is not there, and which shows its alternate screen or not.
    pub fn begun_late(size: Size, alternate: bool) -> Self {
        let mut transcript = Self::new(size);
        let reading = &mut transcript.reading;
        if alternate {
            reading.terminal.enter_alternate();
        }
        // Most have come to the bottom by then; nothing is known of what is above.
        let last = reading.terminal.primary.height - 1;
        reading.terminal.primary.y = last;
        reading.given = last as u64;
        transcript
    }

    /// Goes on from the state that a [`snapshot`](crate::Emulator::snapshot) has of this position.
    pub fn adopt(&mut self, size: Size, snapshot: &[u8]) {
        let reading = &mut self.reading;
        reading.rewind(reading.top);
        reading.terminal = Terminal::new(size, SCROLLBACK);
        self.parser = Parser::default();
        self.parser.advance(snapshot, &mut reading.terminal);
        reading.terminal.primary.clear_scrollback();
        reading.terminal.replies.clear();
        reading.forget_holds();
    }

    /// Reads output until `work` is done, and answers how many bytes that were; see
    /// [`Emulator::advance_within`](crate::Emulator::advance_within).
    pub fn advance_within(&mut self, bytes: &[u8], work: u64) -> usize {
        let limit = self.reading.work().saturating_add(work.max(1));
        let read = self.parser.advance_within(bytes, limit, &mut self.reading);
        // Somebody else answers and listens.
        self.reading.terminal.replies.clear();
        std::mem::take(&mut self.reading.terminal.signals);
        read
    }

    /// The size changed here; text that was wrapped at the margin is wrapped anew.
    pub fn resize(&mut self, size: Size) {
        let reading = &mut self.reading;
        if size != reading.terminal.size {
            reading.rewind(reading.top);
            reading.terminal.resize(size);
            reading.collect();
            reading.forget_holds();
        }
    }

    /// The lines that are complete, each once.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.reading.completed)
    }

    /// For who follows, when there is no more output at the moment: lines above the cursor are complete
    /// as well, but for those that the program seems to draw again and again, since it went back to them.
    ///
    /// One that is rewritten later all the same is given again in its last form.
    pub fn settle(&mut self) {
        self.reading.settle();
    }

    /// The lines of the alternate screen, while that is shown.
    pub fn alternate_screen(&self) -> Option<Vec<String>> {
        let reading = &self.reading;
        reading.terminal.on_alternate.then(|| reading.picture())
    }

    /// The end of the transcript: the lines that are on the screen.
    pub fn finish(mut self) -> Vec<String> {
        self.reading.finish();
        self.reading.completed
    }
}

/// More lines cannot leave the screen before they are looked at, but for a few sequences that make many
/// of nothing.
const SCROLLBACK: usize = 2048;

/// So many lines are known again, when a program draws its whole screen anew and begins with lines that
/// have left it.
const RECENT: usize = 1000;

/// So many hashes are compared or copied in the time of one cell.
const COMPARED: usize = 8;

/// No row.
const NONE: u64 = u64::MAX;

/// Rows are counted from the first one that was ever on the main screen.
#[derive(Debug, Clone)]
struct Reading {
    terminal: Terminal,
    /// The row at the top of the main screen. What was above is in `completed`.
    top: u64,
    /// Rows before this one were given, though they may still be on the screen.
    given: u64,
    /// The beginning of a line that goes on in the next row.
    line: String,
    completed: Vec<String>,
    /// Lines that were given and may have been changed since: when they come again as they were, they are
    /// left out. Their hashes, as there may be many long ones.
    again: VecDeque<u64>,
    /// Whether the last line was left out.
    repeats: bool,
    /// The hashes of the last lines with text that were given.
    recent: VecDeque<u64>,
    /// Whether any line has come since the program drew its whole screen anew.
    any_since: bool,
    /// The row that the program went back to last, and the time before. What is below may be drawn again.
    back_to: [u64; 2],
    /// Whether it has gone down since.
    went_down: bool,
    /// How many lines it has fed since.
    feeds: usize,
    /// What the alternate screen showed before it was erased.
    frame: Vec<String>,
}

impl Reading {
    fn new(size: Size) -> Self {
        Reading {
            terminal: Terminal::new(size, SCROLLBACK),
            top: 0,
            given: 0,
            line: String::new(),
            completed: Vec::new(),
            again: VecDeque::new(),
            repeats: false,
            recent: VecDeque::new(),
            any_since: false,
            back_to: [NONE; 2],
            went_down: false,
            feeds: 0,
            frame: Vec::new(),
        }
    }

    /// Does it, and looks at where the cursor of the main screen went and at what left that.
    fn watch(&mut self, act: impl FnOnce(&mut Terminal)) {
        let before = self.main_row();
        act(&mut self.terminal);
        self.collect();
        if let (Some(before), Some(after)) = (before, self.main_row()) {
            if after < before {
                self.went_back_to(after);
            } else if after > before {
                self.went_down = true;
                self.feeds += 1;
                if self.feeds > self.terminal.primary.height {
                    self.forget_holds();
                    self.again.clear();
                }
            }
        }
    }

    /// The row of the cursor, where that is on the main screen.
    fn main_row(&self) -> Option<u64> {
        let terminal = &self.terminal;
        (!terminal.on_alternate).then(|| self.top + terminal.primary.y as u64)
    }

    fn went_back_to(&mut self, row: u64) {
        let [last, before] = &mut self.back_to;
        if self.went_down {
            (*last, *before) = (row, *last);
        } else {
            *last = row.min(*last);
        }
        self.went_down = false;
        self.feeds = 0;
        if row == self.top && self.any_since {
            self.any_since = false;
            self.add_work(self.recent.len() / COMPARED);
            self.again.clone_from(&self.recent);
        }
        self.rewind(row);
    }

    /// Lines that may come again.
    fn remember(&mut self, lines: Vec<u64>) {
        self.again.extend(lines);
        let most = RECENT + 4 * self.terminal.primary.height;
        let too_many = self.again.len().saturating_sub(most);
        self.again.drain(..too_many);
    }

    fn forget_holds(&mut self) {
        self.back_to = [NONE; 2];
        self.went_down = false;
        self.feeds = 0;
    }

    /// Takes the rows that have left the main screen.
    fn collect(&mut self) {
        let gone = self.terminal.primary.base();
        if gone == 0 {
            return;
        }
        let first = self.given.saturating_sub(self.top) as usize;
        for index in first..gone {
            self.take_row(index);
        }
        self.terminal.primary.clear_scrollback();
        self.top += gone as u64;
        self.given = self.given.max(self.top);
    }

    /// Gives rows of the screen up to `end`, counted from its top.
    fn give(&mut self, end: usize) {
        for index in (self.given - self.top) as usize..end {
            self.take_row(index);
        }
        self.given = self.given.max(self.top + end as u64);
    }

    fn take_row(&mut self, index: usize) {
        let mut line = std::mem::take(&mut self.line);
        let goes_on = self.add_row(&mut line, index) && line.len() < LONGEST_LINE;
        if goes_on {
            self.line = line;
            return;
        }
        line.truncate(line.trim_end().len());
        let hash = hash(&line);
        self.add_work(self.again.len() / COMPARED);
        if let Some(known) = self.again.iter().position(|again| *again == hash) {
            self.again.remove(known);
            (self.repeats, self.feeds) = (true, 0);
            self.any_since = true;
            return;
        }
        // Empty lines are not told apart.
        self.repeats &= line.is_empty() && !self.again.is_empty();
        if self.repeats {
            return;
        }
        if !line.is_empty() {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(hash);
        }
        self.any_since = true;
        self.completed.push(line);
    }

    /// Adds the text of a row to that of its line. True when the line goes on in the next row.
    fn add_row(&mut self, line: &mut String, index: usize) -> bool {
        let primary = &self.terminal.primary;
        let row = &primary.rows[index];
        let next = primary.rows.get(index + 1).filter(|next| next.wrapped);
        let end = match next {
            // A wide character that had no room left one column empty.
            Some(next) if next.get(0).is_wide() && !row.get(primary.cols - 1).has_text() => {
                primary.cols - 1
            }
            Some(_) => primary.cols,
            None => row.text_end(),
        };
        let (goes_on, before) = (next.is_some(), line.len());
        self.terminal.add_text(line, row, end);
        self.add_work(1 + line.len() - before);
        goes_on
    }

    /// The rows from there on are to be given again, those that have changed.
    fn rewind(&mut self, row: u64) {
        if row >= self.given {
            return;
        }
        let rows = &self.terminal.primary.rows;
        let mut from = row.saturating_sub(self.top) as usize;
        while from > 0 && rows[from].wrapped {
            from -= 1;
        }
        let (mut line, mut lines) = (String::new(), Vec::new());
        for index in from..(self.given - self.top) as usize {
            if !self.add_row(&mut line, index) {
                lines.push(hash(line.trim_end()));
                line.clear();
            }
        }
        self.remember(lines);
        self.given = self.top + from as u64;
    }

    fn settle(&mut self) {
        let Some(mut end) = self.main_row() else {
            return;
        };
        for held in self.back_to {
            end = end.min(held);
        }
        let mut end = end.saturating_sub(self.top) as usize;
        // Empty ones come with what follows them, as at the end of the screen they never do.
        end = end.min(self.used());
        let rows = &self.terminal.primary.rows;
        while end > 0 && rows[end].wrapped {
            end -= 1;
        }
        self.give(end);
    }

    /// The main screen is about to be erased. What a program draws again and again was not to be read.
    fn before_clearing(&mut self) {
        let [last, before] = self.back_to;
        // To erase the screen it went to its beginning.
        let held = match last == self.top && !self.went_down {
            true => before,
            false => last.min(before),
        };
        let held = usize::try_from(held.saturating_sub(self.top)).unwrap_or(usize::MAX);
        let end = self.used().min(held);
        self.give(end);
        self.end_line();
        self.given = self.top;
        self.forget_holds();
        let primary = &self.terminal.primary;
        // Who does not go to its beginning first is about to draw all of it anew.
        if (primary.x, primary.y) == (0, 0) {
            self.again.clear();
            self.recent.clear();
        }
    }

    /// Rows of the main screen up to the last one with text.
    fn used(&mut self) -> usize {
        let mut work = 0;
        let has_text = |row: &Row| {
            work += 1 + row.cells().len();
            row.text_end() > 0
        };
        let last = self.terminal.primary.rows.iter().rposition(has_text);
        self.add_work(work);
        last.map_or(0, |last| last + 1)
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.completed.push(line.trim_end().to_owned());
        }
    }

    /// The lines of the alternate screen, without empty ones around them.
    fn picture(&self) -> Vec<String> {
        let rows = self.terminal.alternate.rows.iter();
        let mut lines: Vec<String> = rows.map(|row| self.terminal.row_text(row)).collect();
        let end = lines.iter().rposition(|line| !line.is_empty());
        lines.truncate(end.map_or(0, |end| end + 1));
        let blank = lines.iter().take_while(|line| line.is_empty()).count();
        lines.drain(..blank);
        lines
    }

    fn note_frame(&mut self) {
        let picture = self.picture();
        let rows = self.terminal.alternate.rows.iter();
        let cells: usize = rows.map(|row| 1 + row.cells().len()).sum();
        let text: usize = picture.iter().map(String::len).sum();
        self.add_work(cells + text);
        if !picture.is_empty() {
            self.frame = picture;
        }
    }

    /// The alternate screen was left: what it showed last was read after the lines before.
    fn left_alternate(&mut self) {
        if !self.frame.is_empty() {
            self.settle();
            self.completed.append(&mut self.frame);
        }
    }

    fn finish(&mut self) {
        self.collect();
        let used = self.used();
        if self.top + used as u64 > self.given {
            self.give(used);
        }
        self.end_line();
        if self.terminal.on_alternate {
            self.note_frame();
            self.completed.append(&mut self.frame);
        }
    }

    /// Whether everything is erased by a sequence `J` of this kind.
    fn clears(&self, which: i32) -> bool {
        let buffer = self.terminal.active();
        which == 2 || which == 0 && (buffer.x, buffer.y) == (0, 0)
    }
}

impl Actions for Reading {
    fn work(&self) -> u64 {
        self.terminal.work()
    }

    fn add_work(&mut self, amount: usize) {
        self.terminal.add_work(amount);
    }

    fn print_ascii(&mut self, text: &[u8]) {
        self.terminal.print_ascii(text);
        self.collect();
    }

    fn print(&mut self, c: char) {
        self.terminal.print(c);
        self.collect();
    }

    fn control(&mut self, code: u8) {
        self.watch(|terminal| terminal.control(code));
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        match (intermediates, last) {
            ([], b'c') if self.terminal.on_alternate => {
                self.note_frame();
                self.left_alternate();
                self.before_clearing();
            }
            ([], b'c') => self.before_clearing(),
            // May push what is below down.
            ([], b'M') => {
                if let Some(row) = self.main_row() {
                    self.rewind(row);
                }
            }
            _ => {}
        }
        self.watch(|terminal| terminal.escape(intermediates, last));
    }

    fn csi(&mut self, params: &Params, last: u8) {
        let on_alternate = self.terminal.on_alternate;
        if matches!(params.prefix(), 0 | b'?') && params.intermediates() == [0, 0] {
            match last {
                b'J' if on_alternate && self.clears(params.get(0)) => self.note_frame(),
                b'J' if self.clears(params.get(0)) => self.before_clearing(),
                b'L' | b'M' | b'S' | b'T' if !on_alternate => {
                    let primary = &self.terminal.primary;
                    self.rewind(self.top + primary.y.min(primary.top) as u64);
                }
                b'l' if on_alternate && leaves_alternate(params) => self.note_frame(),
                _ => {}
            }
        }
        self.watch(|terminal| terminal.csi(params, last));
        if on_alternate && !self.terminal.on_alternate {
            self.left_alternate();
        }
    }

    fn osc(&mut self, text: &[u8]) {
        self.terminal.osc(text);
    }

    fn dcs(&mut self, params: &Params, last: u8, text: &[u8]) {
        self.terminal.dcs(params, last, text);
    }
}

fn leaves_alternate(params: &Params) -> bool {
    params
        .groups()
        .any(|group| matches!(group[0], 47 | 1047 | 1049))
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

impl Terminal {
    /// The text of a row, without trailing blanks.
    pub(crate) fn row_text(&self, row: &Row) -> String {
        let mut text = String::new();
        self.add_text(&mut text, row, row.text_end());
        text.truncate(text.trim_end().len());
        text
    }

    fn add_text(&self, text: &mut String, row: &Row, end: usize) {
        for x in 0..end {
            let cell = row.get(x);
            match cell.text() {
                Text::Char(c) => text.push(c),
                Text::Cluster(_) => text.push_str(&self.cell_text(cell)),
                Text::Empty if cell.is_spacer() => {}
                Text::Empty => text.push(' '),
            }
        }
    }
}

#[cfg(test)]
mod tests;
