//! A library that never returns, by a future that is never ready or by blocking its thread.

use agentd_host::testing::{TestProgram, eventually, example_libraries};
use futures_util::future::join_all;
use rustix::process::Signal;

/// The service with a library that is stuck in `call`.
fn stuck_in(call: &str, blocks: bool) -> TestProgram {
    let program = crate::program()
        .env("AGENTD_BACKEND", "stuck")
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .env("FIXTURE_STUCK", call);
    match blocks {
        true => program.env("FIXTURE_BLOCKS", "1"),
        false => program,
    }
}

/// What the library can be stuck in while the service starts. The first is not a future.
const START: [(&str, bool); 7] = [
    ("manifest", true),
    ("connect", false),
    ("connect", true),
    ("list", false),
    ("list", true),
    ("adopt", false),
    ("adopt", true),
];

/// Fault: a library never returns from a call at the start, waiting or blocking. Then: the start ends with 69
/// and names it.
#[tokio::test]
async fn each_call_at_the_start_has_a_deadline() {
    let starts = START.map(async |(call, blocks)| {
        let program = stuck_in(call, blocks).env("AGENTD_BACKEND_START_TIMEOUT_SECS", "2");
        (call, program.ends().await)
    });
    for (call, ended) in join_all(starts).await {
        let text = &ended.stderr;
        assert_eq!(ended.code, Some(69), "{call}: {text}");
        assert_eq!(ended.stdout, "", "{call}");
        assert!(text.contains("still "), "{call}: {text}");
        assert!(text.contains("of at most 2 s"), "{call}: {text}");
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let error = line("Error: ");
        assert!(error.contains("`stuck`"), "{call}: {error}");
        assert!(
            error.ends_with("has not finished within 2 s"),
            "{call}: {error}"
        );
        let hint = line("hint: ");
        assert!(
            hint.contains("AGENTD_BACKEND_START_TIMEOUT_SECS"),
            "{call}: {hint}"
        );
    }
}

/// Fault: a library ends its process while it is loaded. Then: the service refuses it with 78.
#[tokio::test]
async fn a_library_that_ends_the_process_is_refused_with_a_sentence() {
    for (dies, end) in [("abort", "(signal 6)"), ("exit", "(exit code 127)")] {
        let program = stuck_in("nothing", false).env("FIXTURE_DIES", dies);
        let ended = program.ends().await;
        assert_eq!(ended.code, Some(78), "{dies}: {}", ended.stderr);
        let error = ended
            .stderr
            .lines()
            .find(|line| line.starts_with("Error: `"));
        let error = error.unwrap_or_else(|| panic!("{dies}: {}", ended.stderr));
        assert!(
            error.contains("libagentd_backend_stuck.so` ended the process"),
            "{error}"
        );
        assert!(error.contains(end), "{error}");
    }
}

/// Fault: a start that is stuck in a library is ended by a signal. Then: it ends with 0.
#[tokio::test]
async fn signals_end_a_start_that_is_stuck() {
    for signal in [Signal::TERM, Signal::INT] {
        let ends = START.map(async |(call, blocks)| {
            let mut program = stuck_in(call, blocks).spawn();
            eventually("the service says what it waits for", async || {
                program.log().contains("still ").then_some(())
            })
            .await;
            program.signal(signal);
            (call, program.ended().await, program.log())
        });
        for (call, status, log) in join_all(ends).await {
            assert_eq!(status.code(), Some(0), "{call}: {status} {log}");
            assert!(log.contains("asked to end while starting"), "{call}: {log}");
        }
    }
}

/// Fault: a library blocks at the shutdown. Then: the service ends in time.
#[tokio::test]
async fn a_library_that_blocks_at_the_end_does_not_keep_the_service() {
    let mut daemon = stuck_in("terminate", true).start();
    daemon.start("demo", &["none"]).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn a_library_that_blocks_the_services_threads_does_not_keep_it() {
    let mut daemon = stuck_in("terminate", true).start();
    let session = daemon.start("demo", &["none"]).await;
    let delete = tokio::spawn(async move { session.delete().await });
    eventually("the library blocks a thread", async || {
        daemon.log().contains("blocks a thread").then_some(())
    })
    .await;
    daemon.signal(Signal::TERM);
    // 1 where the end had to be forced: without that thread the runtime may do nothing any more.
    let code = daemon.ended().await.code();
    assert!(
        [Some(0), Some(1)].contains(&code),
        "{code:?} {}",
        daemon.log()
    );
    delete.abort();
}

/// Fault: a library blocks the dynamic linker. Then: a signal ends the service and the trial.
#[tokio::test]
async fn a_library_that_blocks_the_dynamic_linker_does_not_keep_the_service() {
    let mut program = stuck_in("load", true).spawn();
    let has_library = |process: &str| {
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps"));
        maps.is_ok_and(|maps| maps.contains("libagentd_backend_stuck"))
    };
    let children = format!("/proc/{}/task", program.pid());
    let trial = eventually("the library is being tried", async || {
        let threads = std::fs::read_dir(&children).ok()?;
        let children = threads.filter_map(|thread| {
            std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
        });
        let children = children.collect::<String>();
        let tried = children.split_whitespace().find(|child| has_library(child));
        tried.map(str::to_owned)
    })
    .await;
    program.signal(Signal::TERM);
    let code = program.ended().await.code();
    assert!(
        [Some(0), Some(1)].contains(&code),
        "{code:?} {}",
        program.log()
    );
    eventually("the trial has ended, too", async || {
        (!has_library(&trial)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deadline_of_zero_is_refused() {
    let ended = crate::program()
        .env("AGENTD_BACKEND_START_TIMEOUT_SECS", "0")
        .ends()
        .await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("--backend-start-timeout-secs"),
        "{}",
        ended.stderr
    );
}
