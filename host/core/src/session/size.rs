use agentd_api::Size;

use crate::{Error, Result};

/// The size of a terminal for which no other was asked.
pub const DEFAULT: Size = Size { cols: 80, rows: 24 };

/// Checks a size from outside: 1 to 1000 columns and rows.
pub fn parse_size(cols: u32, rows: u32) -> Result<Size> {
    let side = |value: u32| {
        u16::try_from(value)
            .ok()
            .filter(|value| (1..=1000).contains(value))
    };
    match (side(cols), side(rows)) {
        (Some(cols), Some(rows)) => Ok(Size { cols, rows }),
        _ => Err(Error::invalid(
            "invalid-size",
            format!("{cols}x{rows} is not a usable size"),
        )
        .hint("columns and rows are 1 to 1000 each")),
    }
}
