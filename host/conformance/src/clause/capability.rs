//! Declared capabilities work.

use std::fs;
use std::io::Read;
use std::sync::{Arc, mpsc};
use std::thread;

use agentd_api::{Health, LogQuery, LogStream, State};
use agentd_host::Services;
use agentd_plugin_api::Host;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::bench::{Bench, unique};
use crate::fault::{Check, Fault, ensure};

/// How much is typed at once: more lines than a terminal's line discipline holds at a time.
const TYPED_LINES: usize = 200;

pub(super) async fn terminal(bench: &Bench) -> Check {
    // A terminal makes two characters of a line feed; all others have to pass.
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
    if bench.manifest().loopback {
        let session = bench.idle("agent").await?;
        session.write(&bytes).await?;
        bench
            .view(&session, "all bytes", |seen| seen == bytes)
            .await?;
        return Ok(());
    }
    let escaped: String = bytes.iter().map(|byte| format!("\\0{byte:03o}")).collect();
    let script = format!("printf '%b' '<<{escaped}>>'; while :; do sleep 1; done");
    let agent = bench.script(&script).await?;
    let expected = [b"<<", bytes.as_slice(), b">>"].concat();
    let all = |seen: &[u8]| seen.windows(2).any(|pair| pair == b">>");
    let seen = bench.view(&agent.session, "all bytes", all).await?;
    let whole = seen
        .windows(expected.len())
        .any(|window| window == expected);
    ensure!(whole, "the bytes 1 to 255 arrived as {seen:?}");
    Ok(())
}

pub(super) async fn interactive(bench: &Bench) -> Check {
    let lines: Vec<String> = (0..TYPED_LINES)
        .map(|number| format!("{number} {}", "x".repeat(100)))
        .collect();
    let typed = lines.iter().map(|line| format!("{line}\n"));
    if bench.manifest().loopback {
        let typed: String = typed.collect();
        let session = bench.idle("agent").await?;
        session.write(typed.as_bytes()).await?;
        bench
            .view(&session, "what was typed", |seen| seen == typed.as_bytes())
            .await?;
        return Ok(());
    }
    let script = r#"
echo up >&3
while IFS= read -r line; do printf '%s\n' "$line" >&3; [ "$line" = last ] && break; done
trap 'echo interrupted >&3' INT
echo waiting >&3
while :; do sleep 1; done"#;
    let mut agent = bench.script(script).await?;
    agent.line.expect("up").await?;
    let session = agent.session.clone();
    let typing = async {
        for line in typed {
            session.write(line.as_bytes()).await?;
        }
        session.write(b"last\n").await?;
        Ok(())
    };
    let reading = async {
        for line in &lines {
            agent.line.expect(line).await?;
        }
        agent.line.expect("last").await?;
        agent.line.expect("waiting").await
    };
    let typing = bench.within("the input to be taken", typing);
    let (typing, reading): (Check<Check>, Check) = tokio::join!(typing, reading);
    reading?;
    typing??;
    session.write(b"\x03").await?;
    agent.line.expect("interrupted").await
}

pub(super) async fn logs(bench: &Bench) -> Check {
    let agent = bench.script("echo to stdout; echo to stderr >&2").await?;
    let begin = agent.session.describe().created_at;
    bench.ended(&agent.session).await?;
    let since = |since: &str| LogQuery {
        since: Some(since.to_owned()),
        ..LogQuery::default()
    };
    let lines = bench.logs(&agent.session, since(&begin)).await?;
    for (text, stream) in [
        ("to stdout", LogStream::Stdout),
        ("to stderr", LogStream::Stderr),
    ] {
        let line = lines.iter().find(|line| line.line == text);
        let line = line.ok_or_else(|| Fault::Failed(format!("no {text:?} in {lines:?}")))?;
        ensure!(line.stream == Some(stream), "the stream is wrong: {line:?}");
        // RFC 3339 in UTC is ordered like its text, up to the second.
        let written = line.ts.clone().unwrap_or_default();
        ensure!(
            written.len() >= 20 && written[..19] >= begin[..19],
            "the time of {line:?} is not after the session's, {begin}"
        );
    }
    let none = bench
        .logs(&agent.session, since("2999-01-01T00:00:00Z"))
        .await?;
    ensure!(none.is_empty(), "lines of the future: {none:?}");
    Ok(())
}

pub(super) async fn health_check(bench: &Bench) -> Check {
    let probe = bench.settings.health.clone().ok_or_else(|| {
        let why = "the settings name no session with a health check";
        Fault::NotApplicable(why.to_owned())
    })?;
    let file = bench.working_dir.join(&probe.file);
    let agent = bench
        .script_with("while :; do sleep 1; done", &[], |new| {
            new.options.extend(probe.options);
        })
        .await?;
    let is = async |health: Health| {
        let what = format!("the health to be {health:?}");
        bench
            .until(&what, async || Ok(agent.session.record().health == health))
            .await
    };
    is(Health::Unhealthy).await?;
    fs::write(&file, "")?;
    is(Health::Healthy).await?;
    fs::remove_file(&file)?;
    is(Health::Unhealthy).await
}

pub(super) async fn attach_tmux(bench: &Bench) -> Check {
    let words = unique("seen");
    let script = format!("echo {words}; echo up >&3; while :; do sleep 1; done");
    let mut agent = bench.script(&script).await?;
    agent.line.expect("up").await?;
    let argv = agent.session.describe().attach_command;
    let argv = argv.ok_or_else(|| Fault::Failed("there is no attach command".to_owned()))?;
    let (shown, mut client) = attach(&argv)?;
    let mut screen = Vec::new();
    let seen = bench.until("the attach command to show the session", async || {
        screen.extend(shown.try_iter().flatten());
        Ok(String::from_utf8_lossy(&screen).contains(&words))
    });
    let seen = seen.await;
    // It may have ended by itself, in vain.
    let _ = client.kill();
    client.wait()?;
    if let Err(fault) = seen {
        let screen = String::from_utf8_lossy(&screen).into_owned();
        return Err(fault.during(&format!("{argv:?} shows {screen:?}")));
    }
    let state = agent.session.record().state;
    ensure!(
        state == State::Running && agent.line.is_held()?,
        "the session is {state:?} after a viewer left"
    );
    Ok(())
}

type Client = Box<dyn portable_pty::Child + Send + Sync>;

/// Runs `argv` in a terminal, and passes on what it shows.
fn attach(argv: &[String]) -> Check<(mpsc::Receiver<Vec<u8>>, Client)> {
    let pair = native_pty_system().openpty(PtySize::default())?;
    let mut command = CommandBuilder::new(argv.first().map_or("", String::as_str));
    command.args(&argv[1..]);
    command.env("TERM", "xterm-256color");
    let host = Host::new(Arc::new(Services::default()));
    let spawning = host.spawning();
    let client = pair.slave.spawn_command(command)?;
    if let Some(pid) = client.process_id() {
        spawning.claim(pid);
    }
    let mut reader = pair.master.try_clone_reader()?;
    let (sender, shown) = mpsc::channel();
    thread::spawn(move || {
        // Owned here, so that the terminal stays open while it is read.
        let _master = pair.master;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    Ok((shown, client))
}
