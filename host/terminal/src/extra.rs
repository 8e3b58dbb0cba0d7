use std::sync::Arc;

use crate::cell::Color;

/// The rare parts of a style, kept once for all cells that have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    pub underline_color: Color,
    pub link: Option<Arc<Link>>,
}

/// An OSC 8 hyperlink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// The program's own `id=`, which joins cells that are apart; else empty.
    pub id: String,
    pub uri: String,
}
