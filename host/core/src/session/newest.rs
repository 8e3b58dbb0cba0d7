use std::collections::VecDeque;

/// What a line counts beside its text, in bytes.
const LINE: usize = 4;

/// The newest lines of a log that is read to its end. A few bytes of output can make a screen full of
/// lines, again and again: all of them would take many times the memory of the output.
#[derive(Debug)]
pub(super) struct Newest {
    lines: VecDeque<String>,
    most: usize,
    bytes: usize,
    room: usize,
    dropped: usize,
}

impl Newest {
    /// So many lines at most, of a log that keeps `capacity` bytes. There is room for all that so much
    /// plain text has, be they ever so short.
    pub fn new(most: usize, capacity: u64) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        Newest {
            lines: VecDeque::new(),
            most,
            bytes: 0,
            room: capacity.saturating_mul(LINE),
            dropped: 0,
        }
    }

    /// Adds lines, and drops the oldest ones.
    pub fn extend(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.bytes += line.len() + LINE;
            self.lines.push_back(line);
            while (self.lines.len() > self.most || self.bytes > self.room)
                && let Some(oldest) = self.lines.pop_front()
            {
                self.bytes -= oldest.len() + LINE;
                self.dropped += 1;
            }
        }
    }

    /// How many lines were before those that are there.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The lines, oldest first.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_of_plain_text_have_room() {
        for line in ["", "x", "a long line, as there are many"] {
            let capacity = 1000 * (line.len() + 1);
            let mut newest = Newest::new(usize::MAX, capacity as u64);
            newest.extend((0..1000).map(|_| line.to_owned()));
            assert_eq!((newest.dropped(), newest.into_lines().len()), (0, 1000));
        }
    }

    #[test]
    fn the_oldest_lines_are_dropped() {
        let mut newest = Newest::new(2, 1000);
        newest.extend(["one", "two", "three"].map(str::to_owned));
        assert_eq!(newest.dropped(), 1);
        assert_eq!(newest.into_lines(), ["two", "three"]);
        let mut newest = Newest::new(usize::MAX, 10);
        newest.extend((0..1000).map(|n| format!("{n:010}")));
        assert_eq!(newest.dropped(), 998);
        assert_eq!(newest.into_lines(), ["0000000998", "0000000999"]);
    }
}
