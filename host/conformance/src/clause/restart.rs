//! What the daemon's next life finds.

use agentd_api::{Input, State};
use agentd_host::Phase;

use super::end;
use crate::agent::AWAIT;
use crate::bench::Bench;
use crate::fault::{Check, ensure};
use crate::line::Line;

/// Ends while the daemon lives.
const LIVING: &str = "living";
/// Ends while the daemon is away.
const ENDING: &str = "ending";
/// Ends before the daemon does.
const ENDED: &str = "ended";

pub(super) async fn before(bench: &Bench) -> Check {
    for name in [LIVING, ENDING, ENDED] {
        let mut line = bench.line(name)?;
        // The pipe is for the daemon's next life too, and has to outlive this one's end.
        let script = format!(
            "exec 3<>./{name}.line\n{AWAIT}\necho first words; echo up >&3; await go-{name}; exit 5"
        );
        let session = bench.create(bench.request(name, &["/bin/sh", "-c", &script]));
        let session = session.await?;
        line.expect("up").await?;
        if name == ENDED {
            bench.signal("go-ended")?;
            let exit = bench.ended(&session).await?;
            end::expect(&exit, Some(5), None)?;
        }
        std::mem::forget(line);
    }
    Ok(())
}

pub(super) async fn after(bench: &Bench) -> Check {
    let mut ending = bench.line(ENDING)?;
    bench.signal("go-ending")?;
    ending.closed().await?;

    let adopted = bench
        .within("the adoption", bench.sessions.adopt_all(&bench.backend))
        .await??;
    let mut names: Vec<String> = adopted
        .sessions
        .iter()
        .map(|session| session.name.to_string())
        .collect();
    names.sort();
    ensure!(
        names == [ENDED, ENDING, LIVING],
        "after the restart {names:?} are adopted"
    );
    for name in [ENDING, ENDED] {
        let session = bench.sessions.get(name)?;
        let exit = bench
            .ended(&session)
            .await
            .map_err(|fault| fault.during(name))?;
        end::expect(&exit, Some(5), None).map_err(|fault| fault.during(name))?;
    }

    let living = bench.sessions.get(LIVING)?;
    bench
        .within("the adopted session to run", living.started())
        .await?;
    let shown = living.describe();
    ensure!(
        shown.state == State::Running,
        "a session that runs is adopted as {:?}",
        shown.state
    );
    ensure!(
        shown
            .command
            .first()
            .is_some_and(|program| program == "/bin/sh")
            && shown.working_dir == bench.working_dir.display().to_string(),
        "the label is not what it was: {shown:?}"
    );
    let text = bench.text(&living).await?;
    ensure!(
        text.iter().any(|line| line == "first words"),
        "the output from before is lost; the log is {text:?}"
    );
    let prompt = Input {
        text: "after the restart".to_owned(),
        submit: true,
    };
    match living.prompt(prompt).await {
        Err(error) if error.code == "no-input" => {}
        typed => typed?,
    }
    let line: Line = bench.line(LIVING)?;
    bench.signal("go-living")?;
    let exit = bench.ended(&living).await?;
    end::expect(&exit, Some(5), None)?;
    drop(line);

    for session in adopted.sessions {
        bench.delete(&session).await?;
    }
    let mut left = 0;
    let none = bench.until("deleted sessions to be gone", async || {
        left = bench.backend.list(Phase::Starting).await?.found.len();
        Ok(left == 0)
    });
    let none = none.await;
    none.map_err(|fault| fault.during(&format!("{left} are found")))
}
