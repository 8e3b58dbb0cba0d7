//! What agents and their viewers needed is given back.

use agentd_host::testing::{RunningProgram, eventually};
use futures_util::future::join_all;

use crate::program;

/// Lines with a colour of its own for each cell, so that the screen takes what it can.
const COLOURS: &str = "awk 'BEGIN { for (line = 0; line < 400; line++) { \
     for (cell = 0; cell < 80; cell++) printf \"\\033[38;2;%d;%d;7mx\", line % 256, cell; \
     print \"\" } print \"\\033[mdone\" }'; exec cat";

/// Agents that are all watched at once, and then deleted; the memory that this took.
async fn crowd(program: &RunningProgram) -> u64 {
    let names: Vec<_> = (0..8).map(|number| format!("demo-{number}")).collect();
    let sessions = join_all(names.iter().map(|name| program.script(name, COLOURS))).await;
    let mut terminals = Vec::new();
    for session in &sessions {
        let mut terminal = session.terminal("").await;
        terminal.shows("done").await;
        terminals.push(terminal);
    }
    let most = program.memory("RssAnon");
    drop(terminals);
    for session in &sessions {
        session.delete().await;
    }
    most
}

#[tokio::test]
async fn memory_is_given_back_to_the_machine_when_the_agents_are_gone() {
    let program = program().env("AGENTD_SCREEN_IDLE_MS", "300").start();
    let before = program.memory("RssAnon");
    let most = crowd(&program).await;
    let enough = before + (most - before) / 2;
    eventually("the memory that is given back", async || {
        (program.memory("RssAnon") < enough).then_some(())
    })
    .await;
}
