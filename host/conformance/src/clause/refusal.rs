//! What must not be, and is refused.

use agentd_api::{Input, LogQuery, NewSession, Size};
use agentd_host::{Error, ErrorKind, Phase};
use agentd_plugin_api::Capability;
use serde_json::{Value, json};

use super::direct;
use crate::bench::{Bench, unique};
use crate::fault::{Check, Fault, ensure};
use crate::tape::Tape;

const UNKNOWN: &str = "conformance_unknown";

pub(super) async fn unknown_option(bench: &Bench) -> Check {
    let mut new = bench.request("agent", &["/bin/sh", "-c", "while :; do sleep 1; done"]);
    new.options.insert(UNKNOWN.to_owned(), json!(true));
    let error = match bench.sessions.create(new, None).await {
        Ok(_) => return Err(Fault::Failed("an unknown option is accepted".to_owned())),
        Err(error) => error,
    };
    ensure!(
        error.kind == ErrorKind::Refused,
        "an unknown option is answered with {:?}: {error}",
        error.kind
    );
    ensure!(
        error.message.contains(UNKNOWN),
        "the refusal does not name the option: {error}"
    );
    ensure!(
        bench.sessions.list().is_empty(),
        "the refused session is listed"
    );
    bench.nothing_runs().await
}

pub(super) async fn panic_containment(bench: &Bench) -> Check {
    odd_options(bench).await?;
    odd_programs(bench).await?;
    odd_calls(bench).await?;
    odd_direct_calls(bench).await?;
    let unknown = bench
        .backend
        .adopt("no such session", Tape::new(), Phase::Starting)
        .await;
    match unknown {
        Ok(_) => return Err(Fault::Failed("an unknown session is adopted".to_owned())),
        Err(error) => contained("adopting an unknown session", &error)?,
    }
    bench.idle(&unique("after")).await?;
    Ok(())
}

/// Values that no option can mean, and some that it might.
fn odd_values() -> [Value; 7] {
    [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        // Nothing that could be looked for anywhere.
        json!("\u{0}"),
        json!([[]]),
        json!({"": {}}),
    ]
}

async fn odd_options(bench: &Bench) -> Check {
    let schema = bench.manifest().options_schema.clone().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    for name in properties.into_iter().flat_map(|all| all.keys()) {
        for value in odd_values() {
            let what = format!("the option `{name}` as {value}");
            let mut new = bench.request(&unique("odd"), &["/bin/sh", "-c", "exit 0"]);
            new.options.insert(name.clone(), value);
            let error = tried(bench, &what, new).await?;
            if let Some(error) = error {
                ensure!(
                    error.kind == ErrorKind::Refused,
                    "{what} is answered with {:?}: {error}",
                    error.kind
                );
            }
        }
    }
    Ok(())
}

async fn odd_programs(bench: &Bench) -> Check {
    let commands: [&[&str]; 5] = [
        &["/nonexistent/program"],
        &["no-such-program-anywhere"],
        &["/"],
        &["/dev/null", ""],
        &["/bin/sh", "-c", "exit 0", "\u{1b}[2J\u{7f}\n\r\u{feff}"],
    ];
    for command in commands {
        let what = format!("the command {command:?}");
        tried(bench, &what, bench.request(&unique("odd"), command)).await?;
    }
    for (cols, rows) in [(1, 1), (1000, 1000)] {
        let mut new = bench.request(&unique("odd"), &["/bin/sh", "-c", "exit 0"]);
        new.size = Some(Size { cols, rows });
        tried(bench, &format!("{cols} columns and {rows} rows"), new).await?;
    }
    let mut new = bench.request(&unique("odd"), &["/bin/sh", "-c", "exit 0"]);
    new.env
        .insert("a-b c".to_owned(), "\u{1}\n\r\u{1b}".to_owned());
    tried(bench, "an odd variable", new).await?;
    Ok(())
}

/// Calls on a session that runs and on one that has ended.
async fn odd_calls(bench: &Bench) -> Check {
    let session = bench.idle(&unique("odd")).await?;
    for ended in [false, true] {
        if ended {
            let stop = bench.sessions.stop(&session);
            bench.within("the session to be stopped", stop).await??;
        }
        let when = if ended { "after the end" } else { "" };
        answered(&format!("no input {when}"), session.write(b"").await)?;
        answered(&format!("odd input {when}"), session.write(b"\0\xff").await)?;
        for (text, submit) in [("", false), ("", true), ("\u{0}\u{1b}[201~\u{9b}\n", true)] {
            let prompt = Input {
                text: text.to_owned(),
                submit,
            };
            let typed = session.prompt(prompt);
            answered(&format!("the prompt {text:?} {when}"), typed.await)?;
        }
        for (cols, rows) in [(1, 1), (1000, 1000), (80, 24)] {
            let resized = session.resize(Size { cols, rows }).await;
            answered(&format!("resizing to {cols}x{rows} {when}"), resized)?;
        }
        for tail in [0, u64::MAX] {
            for since in ["0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
                let query = LogQuery {
                    tail: Some(tail),
                    since: Some(since.to_owned()),
                    ..LogQuery::default()
                };
                bench.logs(&session, query).await?;
            }
        }
    }
    bench.delete(&session).await
}

/// The same without the host between, which answers for itself before the library does.
async fn odd_direct_calls(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let spec = bench.spec(
        &unique("odd"),
        &["/bin/sh", "-c", "while :; do sleep 1; done"],
    );
    let session = backend.start(&spec, Tape::new()).await?;
    direct::calls(bench, &session, "of a session that runs").await?;
    bench.end(&session).await
}

/// Starts what may be refused or not, and gives the refusal.
async fn tried(bench: &Bench, what: &str, new: NewSession) -> Check<Option<Error>> {
    let created = bench.within(what, bench.sessions.create(new, None)).await?;
    match created {
        Ok(session) => {
            bench
                .delete(&session)
                .await
                .map_err(|fault| fault.during(what))?;
            Ok(None)
        }
        Err(error) => {
            contained(what, &error)?;
            Ok(Some(error))
        }
    }
}

fn answered(what: &str, result: Result<(), Error>) -> Check {
    match result {
        Ok(()) => Ok(()),
        Err(error) => contained(what, &error),
    }
}

fn contained(what: &str, error: &Error) -> Check {
    ensure!(
        error.code != "backend-panicked",
        "{what} makes the backend panic: {error}"
    );
    Ok(())
}

pub(super) async fn undeclared_capability(bench: &Bench) -> Check {
    let all = [
        Capability::Terminal,
        Capability::Interactive,
        Capability::HealthCheck,
        Capability::Logs,
        Capability::AttachTmux,
    ];
    let declared = &bench.manifest().capabilities;
    let words: Vec<&str> = declared.iter().map(Capability::as_str).collect();
    let info = bench.backend.info();
    ensure!(
        info.capabilities == words,
        "declared are {words:?}, shown are {:?}",
        info.capabilities
    );
    for capability in &all {
        let allowed = bench.backend.require(capability, "conformance");
        let word = capability.as_str();
        match allowed {
            Ok(()) => ensure!(
                declared.contains(capability),
                "the host does not refuse `{word}`, which is not declared"
            ),
            Err(error) => ensure!(
                !declared.contains(capability) && error.kind == ErrorKind::Conflict,
                "the host answers to `{word}`: {error}"
            ),
        }
    }
    let session = bench.idle("agent").await?;
    let undeclared = |capability| !declared.contains(&capability);
    if undeclared(Capability::Interactive) {
        ensure!(
            session.write(b"x").await.is_err(),
            "keyboard input is taken, though `interactive` is not declared"
        );
    }
    if undeclared(Capability::AttachTmux) {
        ensure!(
            session.describe().attach_command.is_none(),
            "there is an attach command, though `attach-tmux` is not declared"
        );
    }
    Ok(())
}
