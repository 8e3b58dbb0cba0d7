use crate::cell::{Attributes, Cell, Color, ColorKind, Style};
use crate::emulator::Emulator;

/// Neighbours of one row of the screen that look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What they show; an empty cell is a blank.
    pub text: String,
    /// How many columns they take.
    pub cols: u16,
    /// How they are drawn.
    pub look: Look,
}

/// How a cell is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a terminal has these attributes"
)]
pub struct Look {
    /// The colour of the text.
    pub foreground: Paint,
    /// The colour behind it.
    pub background: Paint,
    /// SGR 1.
    pub bold: bool,
    /// SGR 2.
    pub dim: bool,
    /// SGR 3.
    pub italic: bool,
    /// SGR 4, of any kind.
    pub underline: bool,
    /// SGR 5.
    pub blink: bool,
    /// SGR 7.
    pub inverse: bool,
    /// SGR 8.
    pub hidden: bool,
    /// SGR 9.
    pub strike: bool,
}

/// A colour as the program named it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paint {
    /// The terminal's own.
    #[default]
    Default,
    /// One of the palette.
    Palette(u8),
    /// Red, green and blue.
    Direct(u8, u8, u8),
}

impl From<Color> for Paint {
    fn from(color: Color) -> Self {
        match color.kind() {
            ColorKind::Default => Paint::Default,
            ColorKind::Named(index) | ColorKind::Indexed(index) => Paint::Palette(index),
            ColorKind::Rgb(r, g, b) => Paint::Direct(r, g, b),
        }
    }
}

impl From<Style> for Look {
    fn from(style: Style) -> Self {
        let has = |attribute| style.attributes.has(attribute);
        Look {
            foreground: style.fg.into(),
            background: style.bg.into(),
            bold: has(Attributes::BOLD),
            dim: has(Attributes::DIM),
            italic: has(Attributes::ITALIC),
            underline: style.attributes.underline() > 0,
            blink: has(Attributes::BLINK),
            inverse: has(Attributes::INVERSE),
            hidden: has(Attributes::HIDDEN),
            strike: has(Attributes::STRIKE),
        }
    }
}

impl Emulator {
    /// The screen, row by row, each up to its last cell that is not plain and blank.
    pub fn screen_runs(&self) -> Vec<Vec<Run>> {
        let buffer = self.terminal().active();
        let rows = (0..buffer.height).map(|y| self.runs(buffer.row(y).cells()));
        rows.collect()
    }

    fn runs(&self, cells: &[Cell]) -> Vec<Run> {
        let is_plain = |cell: &Cell| {
            !cell.has_text() && !cell.is_spacer() && Look::from(cell.style) == Look::default()
        };
        let mut runs: Vec<Run> = Vec::new();
        for cell in cells {
            let look = Look::from(cell.style);
            let run = match runs.last_mut() {
                Some(run) if run.look == look || cell.is_spacer() => run,
                _ => {
                    runs.push(Run {
                        text: String::new(),
                        cols: 0,
                        look,
                    });
                    let last = runs.len() - 1;
                    &mut runs[last]
                }
            };
            run.cols += 1;
            if cell.has_text() {
                run.text.push_str(&self.terminal().cell_text(*cell));
            } else if !cell.is_spacer() {
                run.text.push(' ');
            }
        }
        // What is plain and blank at the end looks alike, so it is at the end of the last run.
        let blank = cells.iter().rev().take_while(|cell| is_plain(cell)).count();
        if let Some(last) = runs.last_mut() {
            last.cols -= blank as u16;
            last.text.truncate(last.text.len() - blank);
            if last.cols == 0 {
                runs.pop();
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    fn runs(output: &str) -> Vec<Vec<Run>> {
        let mut emulator = Emulator::new(Size::new(10, 2).unwrap(), 0);
        emulator.advance(output.as_bytes());
        emulator.screen_runs()
    }

    #[test]
    fn a_wide_character_at_the_end_is_whole() {
        let [first, _] = runs("漢").try_into().unwrap();
        assert_eq!((first[0].text.as_str(), first[0].cols), ("漢", 2));
    }

    #[test]
    fn neighbours_of_one_look_are_one_run() {
        let [first, second] = runs("ab\x1b[1;31m漢c\x1b[0m \x1b[48;2;1;2;3m \r\n")
            .try_into()
            .unwrap();
        let bold = Look {
            foreground: Paint::Palette(1),
            bold: true,
            ..Look::default()
        };
        let painted = Look {
            background: Paint::Direct(1, 2, 3),
            ..Look::default()
        };
        let run = |text: &str, cols, look| Run {
            text: text.to_owned(),
            cols,
            look,
        };
        let plain = Look::default();
        let all = [
            run("ab", 2, plain),
            run("漢c", 3, bold),
            run(" ", 1, plain),
            run(" ", 1, painted),
        ];
        assert_eq!(first, all);
        assert_eq!(second, []);
    }
}
