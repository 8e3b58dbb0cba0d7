//! A keeper over its whole life, in a process and on a thread.

#![allow(clippy::unwrap_used, reason = "a test")]

mod crash;
mod harness;
mod life;
mod owners;
mod pitfalls;
mod process;
mod takeover;
mod versions;
