//! The terminal engine's still half: no I/O, no tasks, no clock.
//!
//! - [`OutputLog`] keeps the last bytes of a session by position; viewers are cursors into it.
//! - [`Emulator`] knows the screen that the bytes make. It answers the program's questions, and
//!   its [`snapshot`](Emulator::snapshot) brings a viewer's terminal to the same state.
//! - [`PutAway`] is an emulator that nobody needs at the moment, as its snapshot.
//! - [`Transcript`] turns output into lines of plain text.
//! - [`AnswerFilter`] takes a viewer terminal's own answers out of its input.
//!
//! # Why an emulator of our own
//!
//! Viewers look at xterm.js. A snapshot is right when a viewer that gets it ends up with the
//! screen of a viewer that saw every byte, so the emulator has to agree with xterm.js in what
//! terminals do differently, and has to show all of its state. The crates that could be used
//! do neither: what they keep private can be recorded beside them, but not what they do
//! otherwise. `tests/oracle` compares the two, cell by cell.
#![forbid(unsafe_code)]

mod answer_filter;
mod buffer;
mod cell;
mod charset;
mod control;
mod csi;
mod emulator;
mod extra;
#[cfg(any(test, feature = "testing"))]
pub mod hostile;
mod intern;
mod modes;
mod osc;
mod output_log;
mod palette;
mod params;
mod parser;
mod put_away;
mod query;
mod resize;
mod row;
mod sgr;
mod size;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
mod tabs;
mod terminal;
mod title;
mod transcript;
#[cfg(test)]
mod work_tests;

pub use answer_filter::AnswerFilter;
pub use emulator::{Emulator, LARGEST_SNAPSHOT};
pub use output_log::OutputLog;
pub use put_away::PutAway;
pub use size::{Size, SizeError};
pub use transcript::Transcript;
