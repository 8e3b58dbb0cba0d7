//! What the host would hide or make good: calls and reports as they cross the boundary.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::abi::host::RemoteSession;
use agentd_plugin_api::{Capability, ErrorKind, Event, LogQuery, Size};

use crate::agent::AWAIT;
use crate::bench::{Bench, GRACE, unique};
use crate::fault::{Check, Fault, ensure};
use crate::tape::{Entry, Tape, Valve};
use crate::watched::Watched;

/// What one poll may keep its thread; a well-behaved one takes a thousandth of it.
const KEPT: Duration = Duration::from_secs(1);

/// What may still be on its way when the host says that it takes no more, in bytes.
const ON_ITS_WAY: usize = 64 * 1024;

/// Lines of [`COUNTING`], much more than a terminal and the library hold.
const LINES: usize = 20_000;

/// How often the time from a program to the host is measured.
const MEASURED: usize = 3;

/// The shortest of these; half of what a blocked thread of the library's would make of it.
const TRANSIT: Duration = Duration::from_millis(2500);

fn counting() -> String {
    format!(
        "i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"$i ..................................\"; done; \
         echo done >&3\n"
    )
}

const FOR_EVER: &str = "while :; do sleep 1; done";

/// What a call made of the session's thread.
async fn kept<T, E>(
    bench: &Bench,
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Check<Result<T, E>> {
    let longest = Cell::new(Duration::ZERO);
    let result = bench.within(what, Watched::new(call, &longest)).await;
    let kept = longest.get();
    ensure!(
        kept < KEPT,
        "a single poll of {what} kept its thread for {kept:?}, and everything else on that thread \
         waited; expected are some milliseconds"
    );
    result
}

pub(super) async fn no_blocking(bench: &Bench) -> Check {
    let backend = kept(bench, "`connect`", async {
        bench
            .other_daemon()
            .await
            .map_err(|fault| format!("{fault:?}"))
    });
    let backend = backend.await??;
    let name = unique("agent");
    let spec = bench.spec(&name, &["/bin/sh", "-c", FOR_EVER]);
    let session = kept(bench, "`start`", backend.start(&spec, Tape::new())).await??;
    let has = |capability| bench.backend.has(&capability);
    if has(Capability::Interactive) {
        kept(bench, "`write`", session.write(b"x")).await??;
    } else {
        // It may be refused.
        let _ = kept(bench, "`prompt`", session.prompt("x", false)).await?;
    }
    let size = Size { cols: 90, rows: 20 };
    let _ = kept(bench, "`resize`", session.resize(size)).await?;
    let query = LogQuery::default();
    let _ = kept(bench, "`logs`", session.logs(&query, Tape::new())).await?;
    if bench.manifest().persistent {
        kept(bench, "`list`", backend.list()).await??;
    }
    kept(bench, "`terminate`", session.terminate(GRACE)).await??;
    Ok(())
}

pub(super) async fn own_threads(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let mut shortest = Duration::MAX;
    let tape = Tape::new();
    let script = format!(
        "echo up >&3\nfor i in 1 2 3; do\n{AWAIT}\nawait go-$i; echo \"said $i\"; echo said >&3\ndone\n{FOR_EVER}"
    );
    let (session, mut line) = bench.direct(&backend, &script, tape.clone()).await?;
    line.expect("up").await?;
    for number in 1..=MEASURED {
        bench.signal(&format!("go-{number}"))?;
        line.expect("said").await?;
        let begin = std::time::Instant::now();
        let words = format!("said {number}");
        bench
            .until("what the program printed", async || {
                Ok(String::from_utf8_lossy(&tape.output()).contains(&words))
            })
            .await?;
        shortest = shortest.min(begin.elapsed());
    }
    ensure!(
        shortest < TRANSIT,
        "{MEASURED} times a program printed a line, and even the quickest took {shortest:?} from \
         there to the host; expected are some milliseconds"
    );
    bench.end(&session).await
}

pub(super) async fn credit(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let tape = Tape::with(Valve::Shut);
    let (session, mut line) = bench
        .direct(&backend, &format!("{}{FOR_EVER}", counting()), tape.clone())
        .await?;
    // When another program has printed as much, this one could have too.
    let clock = async || -> Check {
        let script = format!("{}{FOR_EVER}", counting());
        let (session, mut line) = bench.direct(&backend, &script, Tape::new()).await?;
        line.expect("done").await?;
        bench.end(&session).await
    };
    clock().await?;
    let taken = tape.output().len();
    ensure!(
        taken <= ON_ITS_WAY,
        "the host answered the first output with a credit of 0 and did not become ready, and was \
         handed {taken} bytes all the same; expected are {ON_ITS_WAY} at most"
    );
    tape.set(Valve::Open);
    line.expect("done").await?;
    bench
        .until(
            "the last line after the host took output again",
            async || {
                let last = format!("{LINES} ...");
                Ok(String::from_utf8_lossy(&tape.output()).contains(&last))
            },
        )
        .await?;
    bench.end(&session).await?;

    let tape = Tape::new();
    let endless = "while :; do echo ........................................; done";
    let (session, _line) = bench.direct(&backend, endless, tape.clone()).await?;
    bench
        .until("output", async || Ok(!tape.output().is_empty()))
        .await?;
    tape.set(Valve::Closed);
    let before = tape.output().len();
    clock().await?;
    let taken = tape.output().len() - before;
    ensure!(
        taken <= ON_ITS_WAY,
        "the host answered `closed`, and was handed {taken} more bytes; expected are \
         {ON_ITS_WAY} at most"
    );
    bench.end(&session).await
}

pub(super) async fn output_order(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let tape = Tape::new();
    let (session, mut line) = bench.direct(&backend, &counting(), tape.clone()).await?;
    line.expect("done").await?;
    bench.until("an end", async || Ok(tape.has_ended())).await?;
    bench.end(&session).await?;
    let output = String::from_utf8_lossy(&tape.output()).into_owned();
    let mut lines = output.lines();
    for number in 1..=LINES {
        let line = lines.next().unwrap_or_default();
        let due = format!("{number} ..................................");
        ensure!(
            line == due,
            "a program printed {LINES} numbered lines; where {due:?} was due came {line:?}"
        );
    }
    Ok(())
}

pub(super) async fn drain(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let tape = Tape::with(Valve::Shut);
    let go = unique("go");
    let script = format!(
        "{AWAIT}\necho begun; echo up >&3; await {go}; printf '%01000d' 0; printf 'the end'"
    );
    let (session, mut line) = bench.direct(&backend, &script, tape.clone()).await?;
    line.expect("up").await?;
    bench
        .until("the first output", async || Ok(!tape.output().is_empty()))
        .await?;
    bench.signal(&go)?;
    line.closed().await?;
    // When the end of a later program is reported, that of this one could have been too.
    let later = Tape::new();
    let (clock, _line) = bench.direct(&backend, "exit 0", later.clone()).await?;
    bench
        .until("the end of another session", async || Ok(later.has_ended()))
        .await?;
    bench.end(&clock).await?;
    tape.set(Valve::Open);
    bench.until("an end", async || Ok(tape.has_ended())).await?;
    bench.end(&session).await?;
    let output = String::from_utf8_lossy(&tape.output()).into_owned();
    ensure!(
        output.ends_with("the end"),
        "a program printed 1007 bytes and ended while the host took no output; once it took some \
         again came only {output:?}"
    );
    Ok(())
}

pub(super) async fn end_comes_last(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let tape = Tape::new();
    let has_terminal = bench.backend.has(&Capability::Terminal);
    let session = if bench.manifest().loopback {
        let spec = bench.spec(&unique("agent"), &["sh"]);
        let session = backend.start(&spec, tape.clone()).await?;
        session.write(b"last words").await?;
        bench.end(&session).await?;
        session
    } else {
        let script = "printf 'last words'";
        bench.direct(&backend, script, tape.clone()).await?.0
    };
    bench.until("an end", async || Ok(tape.has_ended())).await?;
    bench.end(&session).await?;
    drop(session);
    released(bench, std::slice::from_ref(&tape)).await?;
    let entries = tape.entries();
    let ends = entries.iter().filter(|entry| entry.is_end()).count();
    ensure!(ends == 1, "{ends} ends of one session are reported");
    ensure!(
        entries.last().is_some_and(Entry::is_end),
        "the end is not the last that is reported: {entries:?}"
    );
    let output = String::from_utf8_lossy(&tape.output()).into_owned();
    ensure!(
        !has_terminal || output == "last words",
        "the program printed \"last words\", and the output is {output:?}"
    );
    Ok(())
}

/// Waits until the library can report nothing more, as it holds nothing to report to.
pub(super) async fn released(bench: &Bench, tapes: &[Arc<Tape>]) -> Check {
    let held = || {
        let held = tapes.iter().filter(|tape| Arc::strong_count(tape) > 1);
        held.count()
    };
    let released = bench.until("the library to let its sessions go", async || {
        Ok(held() == 0)
    });
    released.await.map_err(|fault| {
        fault.during(&format!(
            "{} of {} sessions have ended, were terminated and dropped, and something in the \
             library, such as a task, still holds their `SessionEvents`",
            held(),
            tapes.len()
        ))
    })
}

pub(super) async fn grace(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let script = "
trap 'trap \"\" HUP INT TERM; echo asked >&3; sleep 1 && echo saved >&3; exit 0' HUP TERM
echo up >&3
while :; do sleep 1; done";
    let (session, mut line) = bench.direct(&backend, script, Tape::new()).await?;
    line.expect("up").await?;
    // Much longer than anything is waited for here.
    let grace = bench.settings.patience * 10;
    let what =
        format!("`terminate` with a grace of {grace:?} to answer, of a program that needs 1 s");
    let terminate = bench.within(&what, session.terminate(grace));
    let saving = async {
        line.expect("asked").await?;
        line.expect("saved").await?;
        line.closed().await
    };
    let (terminated, saved): (_, Check) = tokio::join!(terminate, saving);
    saved.map_err(|fault| {
        fault.during(&format!(
            "`terminate` was called with a grace of {grace:?} for a program that saves its work \
             for 1 s when it is asked to end"
        ))
    })?;
    terminated??;
    Ok(())
}

pub(super) async fn unknown_program(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    // A missing interpreter and an argument that is too long are not asked for: only the kernel
    // knows, and libraries from before that was looked at are still good.
    let programs = ["/nonexistent/program", "no-such-program-anywhere", "/"];
    for program in programs {
        let tape = Tape::new();
        let spec = bench.spec(&unique("agent"), &[program]);
        let started = bench
            .within("a start to be refused", backend.start(&spec, tape.clone()))
            .await?;
        match started {
            Err(error) => ensure!(
                error.kind == ErrorKind::Refused,
                "the start of {program:?}, which cannot be executed, fails with {:?} and not with \
                 `Refused`: {error}",
                error.kind
            ),
            Ok(session) => {
                bench.end(&session).await?;
                let is_running =
                    |entry: &Entry| matches!(entry, Entry::Event(Event::Running { .. }));
                let entries = tape.entries();
                // An engine whose containers begin with an init of their own learns it from the
                // exit code alone.
                let is_not_executed = |entry: &Entry| {
                    matches!(entry, Entry::Event(Event::Exited { status })
                        if matches!(status.code, Some(126 | 127)))
                };
                if !bench.backend.has(&Capability::Terminal) && entries.iter().any(is_not_executed)
                {
                    continue;
                }
                let starting = entries
                    .iter()
                    .any(|entry| matches!(entry, Entry::Event(Event::Starting { .. })));
                ensure!(
                    starting && !entries.iter().any(is_running),
                    "the start of {program:?}, which cannot be executed, succeeds: {entries:?}"
                );
            }
        }
    }
    bench.nothing_runs().await
}

pub(super) async fn after_the_end(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let tape = Tape::new();
    let session = match bench.manifest().loopback {
        true => {
            let spec = bench.spec(&unique("agent"), &["sh"]);
            backend.start(&spec, tape.clone()).await?
        }
        false => bench.direct(&backend, "exit 0", tape.clone()).await?.0,
    };
    if bench.manifest().loopback {
        bench.end(&session).await?;
    }
    bench.until("an end", async || Ok(tape.has_ended())).await?;
    calls(bench, &session, "of a session that has ended").await?;
    bench.end(&session).await?;
    calls(bench, &session, "of a session that was terminated").await?;
    bench.end(&session).await
}

/// Odd calls, each of which has to be answered, and none with a panic.
pub(super) async fn calls(bench: &Bench, session: &RemoteSession, when: &str) -> Check {
    let inputs: [&[u8]; 4] = [b"", b"x", b"\0\xff", &[0xff; 2000]];
    for input in inputs {
        let what = format!("`write` of {} bytes {when}", input.len());
        answered(&what, bench.within(&what, session.write(input)).await?)?;
    }
    for text in ["", "\u{0}\u{1b}[201~\u{9b}\n"] {
        let what = format!("`prompt` {text:?} {when}");
        answered(
            &what,
            bench.within(&what, session.prompt(text, true)).await?,
        )?;
    }
    for (cols, rows) in [(1, 1), (1000, 1000), (80, 24)] {
        let what = format!("`resize` to {cols}x{rows} {when}");
        let resized = session.resize(Size { cols, rows });
        answered(&what, bench.within(&what, resized).await?)?;
    }
    let what = format!("`attach_command` {when}");
    answered(&what, session.attach_command())
}

fn answered<T>(what: &str, result: agentd_plugin_api::Result<T>) -> Check {
    match result {
        Err(error) if error.kind == ErrorKind::Panicked => Err(Fault::Failed(format!(
            "{what} makes the backend panic: {error}"
        ))),
        _ => Ok(()),
    }
}

pub(super) async fn unread_input(bench: &Bench) -> Check {
    let backend = bench.other_daemon().await?;
    let script = format!("echo up >&3; {FOR_EVER}");
    let (session, mut line) = bench.direct(&backend, &script, Tape::new()).await?;
    let (other, mut other_line) = bench.direct(&backend, &script, Tape::new()).await?;
    line.expect("up").await?;
    other_line.expect("up").await?;
    let input = "a line that nobody reads\n".repeat(200_000);
    let mut write = std::pin::pin!(session.write(input.as_bytes()));
    let mut end = std::pin::pin!(async {
        bench
            .within(
                "`write` to another session while a program does not read its input",
                other.write(b"x"),
            )
            .await??;
        bench
            .end(&session)
            .await
            .map_err(|fault| fault.during("4.8 MiB were typed into a program that does not read"))
    });
    // Nothing stops the waiting `write` before the end: it may hold what the end waits for.
    let mut written = None;
    loop {
        tokio::select! {
            biased;
            result = &mut write, if written.is_none() => written = Some(result),
            ended = &mut end => break ended?,
        }
    }
    let written = match written {
        Some(result) => result,
        None => {
            let what = "`write` to answer after the end of a program that read nothing";
            bench.within(what, write).await?
        }
    };
    answered("`write` to a program that does not read", written)?;
    bench.end(&other).await
}
