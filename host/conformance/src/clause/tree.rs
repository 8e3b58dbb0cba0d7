//! The processes of a session.

use std::time::Duration;

use crate::agent::{AWAIT, Agent, BRANCHES, UPS};
use crate::bench::{Bench, unique};
use crate::fault::{Check, ensure};
use crate::tape::Tape;

/// Ignores being asked.
const DEAF: &str = "trap '' HUP INT TERM\n";

/// So long it is asked.
const GRACE: Duration = Duration::from_millis(500);

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
    library_terminates(bench).await
}

/// The same without the host between, which waits for the session's end too.
async fn library_terminates(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let script = format!("{DEAF}{BRANCHES}while :; do sleep 1; done");
    let (session, mut line) = bench.direct(&backend, &script, Tape::new()).await?;
    for _ in 0..UPS {
        line.expect("up").await?;
    }
    let terminate = session.terminate(GRACE);
    bench.within("`terminate` to answer", terminate).await??;
    ensure!(
        !line.is_held()?,
        "a process of an agent that ignores signals is left after `terminate` was answered"
    );
    Ok(())
}

pub(super) async fn stubborn(bench: &Bench) -> Check {
    let agent = plant(bench, DEAF, "while :; do sleep 1; done").await?;
    bench
        .within("all sessions to end", bench.sessions.end_all(GRACE))
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
