use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::cell::Color;

/// The rare parts of a style, kept once for all cells that have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    pub underline_color: Color,
    pub link: Option<Arc<Link>>,
}

/// An OSC 8 hyperlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    hash: u64,
    /// The program's own `id=`, which joins cells that are apart; else empty.
    pub id: String,
    pub uri: String,
}

impl Link {
    pub fn new(id: &str, uri: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (id, uri).hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            id: id.to_string(),
            uri: uri.to_string(),
        }
    }

    /// What it costs to keep and to write.
    pub fn len(&self) -> usize {
        self.id.len() + self.uri.len()
    }
}

/// Styles change far more often than links, so a link's own hash is made once.
impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Extra {
    /// The length of its link.
    pub fn link_len(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.len())
    }
}
