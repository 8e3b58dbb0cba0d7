/// How much of a screen's look is written: less where all of it would be too long. Its text is
/// always written, but for combining marks at the very end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Detail {
    /// So many cells share the look of the first one of them; 0 for none at all.
    pub(super) cells: usize,
    /// Links and the underlines' own colours.
    pub(super) links: bool,
    pub(super) marks: bool,
    /// The primary screen under the alternate one.
    pub(super) hidden: bool,
}

impl Detail {
    pub const ALL: Self = Self {
        cells: 1,
        links: true,
        marks: true,
        hidden: true,
    };

    /// The text alone.
    pub const PLAIN: Self = Self::looks(0);

    /// All there is, then less and less.
    pub const STEPS: [Self; 8] = [
        Self::ALL,
        Self::looks(1),
        Self::looks(4),
        Self::looks(16),
        Self::looks(64),
        Self::PLAIN,
        Self {
            marks: false,
            ..Self::looks(0)
        },
        Self {
            marks: false,
            hidden: false,
            ..Self::looks(0)
        },
    ];

    const fn looks(cells: usize) -> Self {
        Self {
            cells,
            links: false,
            marks: true,
            hidden: true,
        }
    }
}
