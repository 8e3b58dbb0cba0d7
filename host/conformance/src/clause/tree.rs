//! The processes of a session.

use std::time::Duration;

use crate::agent::{AWAIT, Agent, BRANCHES, UPS};
use crate::bench::{Bench, unique};
use crate::fault::{Check, ensure};

/// Starts a program with children of all kinds, and waits until all of them run.
async fn plant(bench: &Bench, before: &str, after: &str) -> Check<Agent> {
    let mut agent = bench.script(&format!("{before}{BRANCHES}{after}")).await?;
    for _ in 0..UPS {
        agent.line.expect("up").await?;
    }
    Ok(agent)
}

pub(super) async fn terminate(bench: &Bench) -> Check {
    let agent = plant(bench, "", "while :; do sleep 1; done").await?;
    bench.delete(&agent.session).await?;
    ensure!(
        !agent.line.is_held()?,
        "a process of the agent is left after the deletion was answered"
    );
    Ok(())
}

pub(super) async fn stubborn(bench: &Bench) -> Check {
    let deaf = "trap '' HUP INT TERM\n";
    let agent = plant(bench, deaf, "while :; do sleep 1; done").await?;
    let grace = Duration::from_millis(500);
    bench
        .within("all sessions to end", bench.sessions.end_all(grace))
        .await?;
    ensure!(
        !agent.line.is_held()?,
        "a process that ignores signals is left after its session was ended"
    );
    bench.ended(&agent.session).await?;
    Ok(())
}

pub(super) async fn follows(bench: &Bench) -> Check {
    let go = unique("go");
    let mut agent = plant(bench, AWAIT, &format!("await {go}; exit 0")).await?;
    bench.signal(&go)?;
    bench.ended(&agent.session).await?;
    agent.line.closed().await
}
