use serde::{Deserialize, Serialize};

/// The query of `GET …/screen`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenQuery {
    /// 1: the looks of the text, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<u8>,
    /// As in [`LogQuery`](crate::LogQuery).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What a terminal shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// A line for each row, without trailing blanks.
    pub text: String,
    /// The runs of each row from the left to the right, up to the last cell that is not plain and blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<Vec<CellRun>>>,
    /// Where the next character is written.
    pub cursor: ScreenCursor,
    /// The window title that the program has set; empty if none.
    pub title: String,
    /// The width of the screen.
    pub cols: u16,
    /// The height of the screen.
    pub rows: u16,
    /// The position in the output, as in the terminal's `hello`.
    pub seq: u64,
}

/// A cell of the screen, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenCursor {
    /// From the left.
    pub col: u16,
    /// From above.
    pub row: u16,
}

/// Neighbours of one row that look the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRun {
    /// What they show; an empty cell is a blank.
    pub text: String,
    /// How many columns they take.
    pub cols: u16,
    /// The colour of the text: a number of the palette or `#rrggbb`; none is the terminal's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fg: Option<CellColor>,
    /// The colour behind the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bg: Option<CellColor>,
    /// Such as `bold`; see [`CellStyle`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub style: Vec<CellStyle>,
}

/// A colour as the program named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CellColor {
    /// A number of the palette of 256.
    Palette(u8),
    /// `#rrggbb`.
    Direct(String),
}

/// How text is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellStyle {
    /// Bold.
    Bold,
    /// With less contrast.
    Dim,
    /// Italic.
    Italic,
    /// Underlined, in any way.
    Underline,
    /// Blinking.
    Blink,
    /// With the two colours exchanged.
    Inverse,
    /// Not shown, as a password.
    Hidden,
    /// Crossed out.
    Strike,
}
