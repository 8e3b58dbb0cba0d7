//! What strangers try, by the bytes that they send. What each of them is, and what has to come of it, is in
//! the table of `cargo xtask test --report`; attacks on one feature are tested with it.

mod cores;
mod hosts;
mod lines;
mod others;
mod output;
mod races;
mod secrets;
mod smuggling;
mod tmux;
