//! What is put before the judge.

mod grammar;
mod recordings;
mod states;

use agentd_terminal::Size;

/// Steps, and the place among them where a viewer joins.
pub struct Case {
    pub name: String,
    pub size: Size,
    /// Of the judging terminals. Where it is not 0, xterm.js counts a saved cursor's line from
    /// the oldest line of the scrollback, so that it moves with the text; no other terminal does.
    pub scrollback: u32,
    pub steps: Vec<Step>,
    pub cut: usize,
}

/// One thing that happens to a terminal.
#[derive(Clone)]
pub enum Step {
    Write(Vec<u8>),
    Resize(Size),
}

/// All cases, by kind.
pub fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("states", states::cases()),
        ("grammar", grammar::cases()),
        ("recordings", recordings::cases()),
    ]
}
