//! What must be true of any bytes: one function each, which panics where it is not. For fuzzing,
//! see `host/fuzz`.

pub use crate::server::fuzz::{clients, seeds};
