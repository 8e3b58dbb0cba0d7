//! The command line of agentd. Data goes to stdout, all else to stderr.

mod age;
mod attach;
mod backend;
mod command_line;
mod completions;
mod connection;
mod failure;
mod full_screen;
mod global;
mod mcp;
mod orchestrator;
mod output;
mod service;
mod signals;
mod socket;
mod span;
mod state_dir;
mod table;
mod token;
mod token_verb;
mod ui;
mod verb;
mod visible;
mod wrap;

pub use command_line::run;
