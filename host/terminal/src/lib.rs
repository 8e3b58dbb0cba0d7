//! The part of the terminal engine without I/O, tasks or a clock.
//!
//! - [`OutputLog`] keeps the last bytes of a session by position; viewers are cursors into it.
//! - [`Emulator`] knows the screen that the bytes make. It answers the program's questions, and
//!   its [`snapshot`](Emulator::snapshot) brings a viewer's terminal to the same state.
//! - [`Signals`] are what a program says beside its screen: its bell, notifications, progress.
//! - [`PutAway`] is an emulator that nobody needs at the moment, as its snapshot.
//! - [`Transcript`] turns output into the lines that a person would have read.
//! - [`AnswerFilter`] takes a viewer terminal's own answers out of its input.
//! - [`OutputFilter`] takes out of output what makes a terminal answer.
//!
//! # Why an emulator of our own
//!
//! Viewers look at xterm.js. A snapshot is right when a viewer that gets it ends up with the
//! screen of a viewer that saw every byte, so the emulator has to agree with xterm.js in what
//! terminals do differently, and has to show all of its state. `tests/oracle.rs` compares the
//! two in 796 states, cell by cell and mode by mode. Given the same bytes and judged the same way,
//! alacritty_terminal 0.26, avt 0.19 and vt100 0.18 restore:
//!
//! | emulator | states | grammar | recordings | restored | text and cursor |
//! |---|---|---|---|---|---|
//! | ours | 112 of 112 | 600 of 600 | 84 of 84 | 796 of 796 | 796 of 796 |
//! | alacritty_terminal | 29 of 112 | 31 of 600 | 0 of 84 | 60 of 796 | 546 of 796 |
//! | avt | 16 of 112 | 61 of 600 | 1 of 84 | 78 of 796 | 551 of 796 |
//! | vt100 | 19 of 112 | 24 of 600 | 0 of 84 | 43 of 796 | 431 of 796 |
//!
//! The last column asks only for the text and the cursor that are shown at once. avt and vt100
//! give their own snapshots; alacritty_terminal has none, so one is written from what it shows
//! (`peers/src/alacritty.rs`). They lose the scroll region, tab stops, an unfinished sequence or
//! the other screen, which could be recorded beside them, but they also put other text into other
//! cells than xterm.js. `cargo xtask bench emulators` measures this again and checks the table.
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
pub mod fuzz;
#[cfg(any(test, feature = "testing"))]
pub mod hostile;
mod intern;
mod look;
mod modes;
mod osc;
mod output_filter;
mod output_log;
mod palette;
mod params;
mod parser;
mod put_away;
mod query;
mod resize;
mod row;
#[cfg(any(test, feature = "testing"))]
mod same;
mod sgr;
mod signals;
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
pub use look::{Look, Paint, Run};
pub use output_filter::OutputFilter;
pub use output_log::OutputLog;
pub use put_away::PutAway;
pub use signals::{Mark, Progress, Signals};
pub use size::{Size, SizeError};
pub use transcript::Transcript;
