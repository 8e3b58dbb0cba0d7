//! What goes between a program and its users.

use agentd_api::{Input, LogQuery, Size};
use agentd_host::ErrorKind;
use agentd_plugin_api::Capability;

use crate::agent::AWAIT;
use crate::bench::{Bench, unique};
use crate::fault::{Check, Fault, ensure};

/// What a terminal may keep of a program's output, a backend without one may limit.
const LINES: (usize, usize) = (5000, 200);

pub(super) async fn output(bench: &Bench) -> Check {
    let script = "echo first words; echo up >&3; while :; do sleep 1; done";
    let mut agent = bench.script(script).await?;
    agent.line.expect("up").await?;
    let arrived = bench.until("the output", async || {
        let text = bench.text(&agent.session).await?;
        Ok(text.iter().any(|line| line == "first words"))
    });
    arrived.await
}

pub(super) async fn last_output(bench: &Bench) -> Check {
    let has_terminal = bench.backend.has(&Capability::Terminal);
    let count = if has_terminal { LINES.0 } else { LINES.1 };
    let script = format!(
        "i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo \"line $i\"; done; printf 'the end'"
    );
    let agent = bench.script(&script).await?;
    bench.ended(&agent.session).await?;
    let text = bench.text(&agent.session).await?;
    let expected = (1..=count)
        .map(|number| format!("line {number}"))
        .chain(["the end".to_owned()]);
    let mut lines = text.iter();
    for line in expected {
        ensure!(
            lines.any(|found| *found == line),
            "{line:?} is missing, of {count} lines and a last one; the log ends with {:?}",
            &text[text.len().saturating_sub(3)..]
        );
    }
    Ok(())
}

pub(super) async fn input(bench: &Bench) -> Check {
    let words = r#"say "two  words" $HOME; `id` \ * #{pid} ü"#;
    let prompt = |text: &str, submit| Input {
        text: text.to_owned(),
        submit,
    };
    if bench.manifest().loopback {
        let session = bench.idle("agent").await?;
        session.prompt(prompt(words, true)).await?;
        let expected = format!("{words}\r");
        bench
            .view(&session, "what was typed", |seen| {
                seen == expected.as_bytes()
            })
            .await?;
        return Ok(());
    }
    let script = r#"echo up >&3; while IFS= read -r line; do printf '%s\n' "$line" >&3; done"#;
    let mut agent = bench.script(script).await?;
    agent.line.expect("up").await?;
    let session = &agent.session;
    match session.prompt(prompt(words, true)).await {
        Err(error) if error.code == "no-input" && !bench.backend.has(&Capability::Interactive) => {
            return Err(Fault::NotApplicable("it takes no input".to_owned()));
        }
        typed => typed?,
    }
    agent.line.expect(words).await?;
    for (text, submit) in [("one", false), ("", false), (" two", false), ("", true)] {
        session.prompt(prompt(text, submit)).await?;
    }
    agent.line.expect("one two").await
}

pub(super) async fn resize(bench: &Bench) -> Check {
    let script = r#"
command -v stty >/dev/null 2>&1 || { echo blind >&3; while :; do sleep 1; done; }
echo up >&3
until [ "$(stty size 2>/dev/null)" = "40 120" ]; do sleep 0.1 2>/dev/null || sleep 1; done
echo resized >&3
while :; do sleep 1; done"#;
    let mut agent = bench.script(script).await?;
    let begun = agent.line.next().await?;
    let size = Size {
        cols: 120,
        rows: 40,
    };
    if let Err(error) = agent.session.resize(size).await {
        let refused = matches!(error.kind, ErrorKind::Conflict | ErrorKind::Refused);
        if refused && !bench.backend.has(&Capability::Terminal) {
            let shown = agent.session.describe().size;
            ensure!(shown != size, "a refused size is shown all the same");
            return Err(Fault::NotApplicable(format!("it is refused: {error}")));
        }
        return Err(error.into());
    }
    let shown = agent.session.describe().size;
    ensure!(shown == size, "the size is shown as {shown:?}");
    if begun == "up" {
        agent.line.expect("resized").await?;
    }
    Ok(())
}

pub(super) async fn logs(bench: &Bench) -> Check {
    let go = unique("go");
    let script = format!(
        "{AWAIT}\nfor i in 1 2 3 4 5; do echo \"line $i\"; done; echo up >&3; await {go}; echo late"
    );
    let mut agent = bench.script(&script).await?;
    agent.line.expect("up").await?;
    let session = &agent.session;
    let first: Vec<String> = (1..=5).map(|number| format!("line {number}")).collect();
    let arrived = bench.until("five lines in the log", async || {
        Ok(bench.text(session).await? == first)
    });
    if let Err(fault) = arrived.await {
        let text = bench.text(session).await?;
        return Err(fault.during(&format!("the log is {text:?}")));
    }
    let tail = LogQuery {
        tail: Some(2),
        ..LogQuery::default()
    };
    let tail = bench.logs(session, tail).await?;
    let has_streams = bench.backend.has(&Capability::Logs);
    for line in &tail {
        ensure!(
            line.ts.is_some() == has_streams && line.stream.is_some() == has_streams,
            "time and stream have to be {}: {line:?}",
            if has_streams { "set" } else { "null" }
        );
    }
    let tail: Vec<String> = tail.into_iter().map(|line| line.line).collect();
    ensure!(tail == first[3..], "the last two lines are {tail:?}");

    let follow = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let mut lines = session.logs(follow).await?;
    let mut expected = first.into_iter();
    let mut signalled = false;
    let following = async {
        while let Some(line) = lines.recv().await {
            let due = expected.next().unwrap_or_else(|| "late".to_owned());
            ensure!(
                line.line == due,
                "following gives {:?} instead of {due:?}",
                line.line
            );
            if line.line == "line 5" {
                bench.signal(&go)?;
                signalled = true;
            }
            if line.line == "late" {
                signalled = false;
            }
        }
        Ok(())
    };
    bench
        .within("a followed log to end with its session", following)
        .await??;
    ensure!(!signalled, "following ends without the last line");
    Ok(())
}
