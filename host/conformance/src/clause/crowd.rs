//! Many sessions at once.

use agentd_api::State;
use futures_util::future::{join_all, try_join_all};

use crate::bench::Bench;
use crate::fault::{Check, ensure};

const COUNT: usize = 50;

pub(super) async fn fifty_sessions(bench: &Bench) -> Check {
    if bench.manifest().loopback {
        let names: Vec<String> = (0..COUNT).map(|number| format!("agent-{number}")).collect();
        let sessions = try_join_all(names.iter().map(|name| bench.idle(name))).await?;
        for (session, name) in sessions.iter().zip(&names) {
            session.write(name.as_bytes()).await?;
            bench
                .view(session, "its own input", |seen| seen == name.as_bytes())
                .await?;
        }
    } else {
        let script = r#"printf '%s\n' "$1" >&3; while :; do sleep 1; done"#;
        let numbers: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
        // All come to an end before one of them can fail the clause.
        let agents = join_all(
            numbers
                .iter()
                .map(|number| async { bench.script_with(script, &[number], |_| {}).await }),
        );
        let agents = agents.await.into_iter().collect::<Check<Vec<_>>>()?;
        let mut lines = Vec::new();
        for (agent, number) in agents.into_iter().zip(&numbers) {
            let mut line = agent.line;
            line.expect(number).await?;
            let state = agent.session.record().state;
            ensure!(state == State::Running, "session {number} is {state:?}");
            lines.push(line);
        }
        end_all(bench).await?;
        for line in &lines {
            ensure!(!line.is_held()?, "processes are left after the deletion");
        }
        return Ok(());
    }
    end_all(bench).await
}

async fn end_all(bench: &Bench) -> Check {
    let sessions = bench.sessions.list();
    ensure!(
        sessions.len() == COUNT,
        "{} sessions are listed instead of {COUNT}",
        sessions.len()
    );
    let ended = try_join_all(sessions.iter().map(|session| bench.delete(session)));
    ended.await?;
    let left = bench.sessions.list().len();
    ensure!(left == 0, "{left} sessions are listed after their deletion");
    Ok(())
}
