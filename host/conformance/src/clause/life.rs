//! From the request to the description.

use agentd_api::{Health, Size, State};
use agentd_host::{ErrorKind, Phase};

use crate::bench::Bench;
use crate::fault::{Check, Fault, ensure};

const SIZE: Size = Size {
    cols: 100,
    rows: 30,
};

pub(super) async fn create(bench: &Bench) -> Check {
    if bench.manifest().loopback {
        bench.idle("agent").await?;
        return Ok(());
    }
    // That the pipe is found by its relative path shows the directory.
    let script = r#"echo up >&3; while :; do sleep 1; done"#;
    let mut agent = bench.script(script).await?;
    agent.line.expect("up").await?;
    let state = agent.session.record().state;
    ensure!(
        state == State::Running,
        "the session is {state:?} while its program runs"
    );
    Ok(())
}

pub(super) async fn arguments(bench: &Bench) -> Check {
    let arguments = [
        "two  words",
        "",
        "*",
        "$HOME `id` $(id)",
        "a\"b'c\\d",
        "; exit 9 #",
        "-n",
        "#{pid} {} ~ ! %s",
        "üñ",
        "a\nb",
        "\t",
    ];
    let script = r#"for word; do printf '[%s]\n' "$word"; done >&3; echo END >&3"#;
    let mut agent = bench.script_with(script, &arguments, |_| {}).await?;
    let mut said = String::new();
    loop {
        match agent.line.next().await?.as_str() {
            "END" => break,
            line => said = said + line + "\n",
        }
    }
    let expected: String = arguments.map(|word| format!("[{word}]\n")).concat();
    ensure!(
        said == expected,
        "the program got {said:?} and not {expected:?}"
    );
    Ok(())
}

pub(super) async fn environment(bench: &Bench) -> Check {
    let value = "two  words $x 'y' \"z\" \\ ;#{pid}\nü";
    let script = r#"
printf '%s\n' "$CONFORMANCE_VALUE" >&3
export -p | while IFS= read -r line; do printf '%s\n' "$line"; done >&3
echo END >&3"#;
    let name = "CONFORMANCE_VALUE";
    let mut agent = bench
        .script_with(script, &[], |new| {
            new.env.insert(name.to_owned(), value.to_owned());
        })
        .await?;
    for expected in value.lines() {
        agent.line.expect(expected).await?;
    }
    loop {
        let line = agent.line.next().await?;
        if line == "END" {
            break;
        }
        let Some(exported) = line
            .strip_prefix("export ")
            .or(line.strip_prefix("declare -x "))
        else {
            continue;
        };
        let is_private = ["AGENTD_", "NOTIFY_SOCKET", "LISTEN_"]
            .iter()
            .any(|private| exported.starts_with(private));
        let is_marker = ["AGENTD_SESSION=", "AGENTD_INSTANCE="]
            .iter()
            .any(|marker| exported.starts_with(marker));
        ensure!(
            is_marker || !is_private,
            "the program has the daemon's `{exported}`"
        );
    }
    let shown = agent.session.describe().env.get(name).cloned();
    ensure!(
        shown.as_deref() == Some("***"),
        "the value of a variable is shown as {shown:?}"
    );
    Ok(())
}

pub(super) async fn duplicate_name(bench: &Bench) -> Check {
    let first = bench.idle("agent").await?;
    let again = bench.sessions.create(bench.request("agent", &["sh"]), None);
    match again.await {
        Ok(_) => return Err(Fault::Failed("a second session got the name".to_owned())),
        Err(error) => ensure!(
            error.kind == ErrorKind::Conflict,
            "a taken name is refused as {:?}: {error}",
            error.kind
        ),
    }
    let state = first.record().state;
    ensure!(
        state == State::Running,
        "the first session is {state:?} after the second was refused"
    );
    bench.delete(&first).await?;
    bench.idle("agent").await?;
    Ok(())
}

pub(super) async fn list(bench: &Bench) -> Check {
    let (one, two) = tokio::join!(bench.idle("one"), bench.idle("two"));
    let (one, two) = (one?, two?);
    let names = || -> Vec<String> {
        let listed = bench.sessions.list();
        listed
            .iter()
            .map(|session| session.name.to_string())
            .collect()
    };
    ensure!(names() == ["one", "two"], "listed are {:?}", names());
    found(bench, &[&one.id, &two.id]).await?;
    let others = bench.other_daemon().await?.list().await?;
    ensure!(
        others.is_empty(),
        "another daemon's list has {} of these sessions",
        others.len()
    );
    bench.delete(&one).await?;
    ensure!(
        names() == ["two"],
        "after a deletion listed are {:?}",
        names()
    );
    ensure!(
        bench.sessions.get("one").is_err(),
        "a deleted session is still found"
    );
    found(bench, &[&two.id]).await
}

/// What the backend itself would report to the next daemon.
async fn found(bench: &Bench, ids: &[&str]) -> Check {
    if !bench.manifest().persistent {
        return Ok(());
    }
    let mut found: Vec<String> = Vec::new();
    found.extend(
        bench
            .backend
            .list(Phase::Starting)
            .await?
            .found
            .into_iter()
            .map(|found| found.id),
    );
    found.sort();
    let mut expected = ids.to_vec();
    expected.sort_unstable();
    ensure!(
        found == expected,
        "the backend finds {found:?} and not {expected:?}"
    );
    Ok(())
}

pub(super) async fn inspect(bench: &Bench) -> Check {
    let command = ["/bin/sh", "-c", "while :; do sleep 1; done"];
    let mut new = bench.request("agent", &command);
    new.size = Some(SIZE);
    let session = bench.create(new.clone()).await?;
    let shown = session.describe();
    let manifest = bench.manifest();
    ensure!(shown.name == "agent", "the name is {:?}", shown.name);
    ensure!(
        shown.backend_type == manifest.name,
        "the backend is {:?}",
        shown.backend_type
    );
    ensure!(
        shown.state == State::Running,
        "the state is {:?}",
        shown.state
    );
    ensure!(shown.exit.is_none(), "it has ended: {:?}", shown.exit);
    ensure!(
        shown.working_dir == new.working_dir,
        "the directory is {:?}",
        shown.working_dir
    );
    ensure!(
        shown.command == command,
        "the command is {:?}",
        shown.command
    );
    ensure!(
        shown.options == new.options,
        "the options are {:?}",
        shown.options
    );
    ensure!(shown.size == SIZE, "the size is {:?}", shown.size);
    if let Some(pid) = shown.pid {
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        ensure!(process.exists(), "there is no process {pid}");
    }
    Ok(())
}

pub(super) async fn health(bench: &Bench) -> Check {
    let session = bench.idle("agent").await?;
    let health = session.record().health;
    if !bench.manifest().loopback {
        // A verdict needs a moment, in which a program is started and seen.
        let mut agent = bench.script("echo up >&3").await?;
        agent.line.expect("up").await?;
        bench.ended(&agent.session).await?;
    }
    let later = session.record().health;
    ensure!(
        health == Health::Unknown && later == Health::Unknown,
        "the health is {health:?} and then {later:?}"
    );
    Ok(())
}
