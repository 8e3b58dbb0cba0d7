use serde::{Deserialize, Serialize};

/// What all processes of a program may use together. What is not set is not limited. A limit that this
/// version does not know is an error, and not ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of memory, swap included.
    pub memory: Option<u64>,
    /// Thousandths of a processor's time.
    pub cpu: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}
