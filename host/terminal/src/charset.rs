/// A 94-character set that `ESC (` and its kin put into G0 to G3. The national sets other than
/// the British one died with 7-bit text and are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    British,
    /// Line drawing.
    DecSpecial,
}

const DEC_SPECIAL: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼',
    '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charset {
    /// The set with this final byte.
    pub fn from_designator(last: u8) -> Option<Self> {
        match last {
            b'B' => Some(Self::Ascii),
            b'A' => Some(Self::British),
            b'0' => Some(Self::DecSpecial),
            _ => None,
        }
    }

    pub fn designator(self) -> u8 {
        match self {
            Self::Ascii => b'B',
            Self::British => b'A',
            Self::DecSpecial => b'0',
        }
    }

    /// The character that an ASCII one stands for.
    pub fn map(self, byte: u8) -> char {
        match (self, byte) {
            (Self::British, b'#') => '£',
            (Self::DecSpecial, b'`'..=b'~') => DEC_SPECIAL[usize::from(byte - b'`')],
            _ => char::from(byte),
        }
    }
}

/// G0 to G3, and which of them text goes through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    sets: [Charset; 4],
    level: usize,
    current: Charset,
}

impl Charsets {
    pub fn current(&self) -> Charset {
        self.current
    }

    /// A restored cursor brings its set without putting it into G0 to G3.
    pub fn set_current(&mut self, charset: Charset) {
        self.current = charset;
    }

    pub fn is_restored(&self) -> bool {
        self.current != self.sets[self.level]
    }

    pub fn level(&self) -> usize {
        self.level
    }

    pub fn sets(&self) -> [Charset; 4] {
        self.sets
    }

    pub fn invoke(&mut self, level: usize) {
        self.level = level;
        self.current = self.sets[level];
    }

    pub fn designate(&mut self, level: usize, charset: Charset) {
        self.sets[level] = charset;
        if level == self.level {
            self.current = charset;
        }
    }
}
