use std::fmt;

/// Columns and rows of a terminal, each within 1..=1000.
///
/// The limit keeps a hostile or mistaken resize from costing memory by the gigabyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    /// The largest number of columns, and of rows.
    pub const MAX: u16 = 1000;

    /// Refuses what is outside 1..=1000 in either direction.
    pub fn new(cols: u16, rows: u16) -> Result<Self, SizeError> {
        let valid = 1..=Self::MAX;
        if valid.contains(&cols) && valid.contains(&rows) {
            Ok(Self { cols, rows })
        } else {
            Err(SizeError { cols, rows })
        }
    }

    /// Number of columns.
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Number of rows.
    pub fn rows(self) -> u16 {
        self.rows
    }
}

impl Default for Size {
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.cols, self.rows)
    }
}

/// A size outside the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeError {
    cols: u16,
    rows: u16,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "terminal size {}x{} is outside 1x1 to {max}x{max}",
            self.cols,
            self.rows,
            max = Size::MAX
        )
    }
}

impl std::error::Error for SizeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        assert!(Size::new(1, 1).is_ok());
        assert!(Size::new(1000, 1000).is_ok());
        for (cols, rows) in [(0, 24), (80, 0), (1001, 24), (80, 1001)] {
            let error = Size::new(cols, rows).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("terminal size {cols}x{rows} is outside 1x1 to 1000x1000")
            );
        }
    }
}
