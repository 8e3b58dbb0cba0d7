//! The program of an agent, as this machine's kernel sees it: how it is found, what its environment
//! is, and how it is ended with everything that it has started. With the feature `terminal` also how
//! it runs on a terminal.
//!
//! It knows nothing of backends, sessions and clients.

pub mod descriptor;
pub mod environment;
pub mod process_tree;
pub mod program;
#[cfg(feature = "terminal")]
pub mod terminal;
pub mod threads;

mod error;
mod limits;
mod processes;

pub use error::{Error, ErrorKind, Result, SHORTAGE_HINT, is_shortage};
pub use limits::Limits;
