/// A colour as a program named it: default, one of the 16, one of the 256, or direct.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Color(u32);

/// A [`Color`] taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorKind {
    Default,
    Named(u8),
    Indexed(u8),
    Rgb(u8, u8, u8),
}

impl Color {
    pub const DEFAULT: Self = Self(0);

    pub fn named(index: u8) -> Self {
        Self(1 << 24 | u32::from(index))
    }

    pub fn indexed(index: u8) -> Self {
        Self(2 << 24 | u32::from(index))
    }

    pub fn rgb(r: u8, g: u8, b: u8) -> Self {
        Self(3 << 24 | u32::from_be_bytes([0, r, g, b]))
    }

    pub fn kind(self) -> ColorKind {
        let [kind, r, g, b] = self.0.to_be_bytes();
        match kind {
            1 => ColorKind::Named(b),
            2 => ColorKind::Indexed(b),
            3 => ColorKind::Rgb(r, g, b),
            _ => ColorKind::Default,
        }
    }
}

/// Everything about a cell's look that is a yes or no, and the kind of underline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attributes(u16);

impl Attributes {
    pub const BOLD: Self = Self(1);
    pub const DIM: Self = Self(1 << 1);
    pub const ITALIC: Self = Self(1 << 2);
    pub const BLINK: Self = Self(1 << 3);
    pub const INVERSE: Self = Self(1 << 4);
    pub const HIDDEN: Self = Self(1 << 5);
    pub const STRIKE: Self = Self(1 << 6);
    pub const OVERLINE: Self = Self(1 << 7);
    /// Spared by the selective erases (DECSCA).
    pub const PROTECTED: Self = Self(1 << 8);
    const UNDERLINE_SHIFT: u32 = 12;

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn set(&mut self, other: Self, on: bool) {
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
    }

    /// 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    pub fn underline(self) -> u8 {
        (self.0 >> Self::UNDERLINE_SHIFT) as u8
    }

    /// Any underline becomes a single one.
    pub fn simplify_underline(&mut self) {
        self.set_underline(self.underline().min(1));
    }

    pub fn set_underline(&mut self, kind: u8) {
        self.0 &= (1 << Self::UNDERLINE_SHIFT) - 1;
        self.0 |= u16::from(kind) << Self::UNDERLINE_SHIFT;
    }
}

/// The look of a cell; the one that new text gets is the terminal's pen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Style {
    pub fg: Color,
    pub bg: Color,
    pub attributes: Attributes,
    /// Index of the [`Extra`](crate::extra::Extra), 0 for none.
    pub extra: u16,
}

impl Style {
    /// What an erased cell keeps of the pen: the background.
    pub fn erased(self) -> Self {
        Self {
            bg: self.bg,
            ..Self::default()
        }
    }
}

/// One cell: a character, or a cluster of one with combining marks, or nothing; and its look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// A code point or, marked by the top bit, the index of a cluster; 0 when empty.
    /// Two bits below the mark distinguish the halves of a wide character.
    text: u32,
    pub style: Style,
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Empty,
    Char(char),
    /// Index into the terminal's clusters.
    Cluster(u32),
}

impl Cell {
    const CLUSTER: u32 = 1 << 31;
    const WIDE: u32 = 1 << 30;
    const SPACER: u32 = 1 << 29;
    const MARKS: u32 = Self::CLUSTER | Self::WIDE | Self::SPACER;

    pub const BLANK: Self = Self {
        text: 0,
        style: Style {
            fg: Color::DEFAULT,
            bg: Color::DEFAULT,
            attributes: Attributes(0),
            extra: 0,
        },
    };

    pub fn empty(style: Style) -> Self {
        Self { text: 0, style }
    }

    pub fn narrow(c: char, style: Style) -> Self {
        Self {
            text: u32::from(c),
            style,
        }
    }

    pub fn ascii(byte: u8, style: Style) -> Self {
        Self {
            text: u32::from(byte),
            style,
        }
    }

    /// The same character with another look.
    pub fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }

    pub fn wide(c: char, style: Style) -> Self {
        Self {
            text: u32::from(c) | Self::WIDE,
            style,
        }
    }

    /// The right half of a wide character.
    pub fn spacer(style: Style) -> Self {
        Self {
            text: Self::SPACER,
            style,
        }
    }

    pub fn is_wide(self) -> bool {
        self.text & Self::WIDE != 0
    }

    pub fn is_spacer(self) -> bool {
        self.text & Self::SPACER != 0
    }

    pub fn has_text(self) -> bool {
        self.text & !(Self::WIDE | Self::SPACER) != 0
    }

    /// Columns that the character takes, 0 for a right half.
    pub fn width(self) -> usize {
        if self.is_wide() {
            2
        } else {
            usize::from(!self.is_spacer())
        }
    }

    pub fn text(self) -> Text {
        let value = self.text & !Self::MARKS;
        if self.text & Self::CLUSTER != 0 {
            Text::Cluster(value)
        } else {
            match char::from_u32(value) {
                Some(c) if value != 0 => Text::Char(c),
                _ => Text::Empty,
            }
        }
    }

    pub fn set_cluster(&mut self, index: u32) {
        self.text = index | Self::CLUSTER | self.text & Self::WIDE;
    }
}
