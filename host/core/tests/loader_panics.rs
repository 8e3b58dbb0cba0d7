//! A backend that panics wherever it can. The daemon, here this process, lives on each time, and
//! the panic's text arrives.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fixtures/daemon.rs"]
mod daemon;
#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "fixtures/install.rs"]
mod install;

use std::sync::Arc;
use std::time::Duration;

use agentd_host::loader::{LoadError, Trust, check};
use agentd_plugin_api::ErrorKind;
use agentd_plugin_api::testing::Recorder;
use daemon::{Log, assert_alive, connect, start};
use fixtures::FIXTURES;
use install::{Plugins, again_with};

/// All libraries of a process share the log of the first connection.
fn log() -> Arc<Log> {
    static LOG: std::sync::LazyLock<Arc<Log>> = std::sync::LazyLock::new(Arc::default);
    LOG.clone()
}

fn third() -> agentd_host::loader::Library {
    let directory = Plugins::new();
    directory.install("third", &FIXTURES.third());
    directory.load("third").unwrap()
}

#[test]
fn a_panic_in_the_manifest_is_an_error() {
    const VARIABLE: &str = "FIXTURE_MANIFEST_PANICS";
    if let Some(file) = std::env::var_os(VARIABLE) {
        let mut steps = check(file.as_ref(), Trust::Strict);
        let error = steps.pop().unwrap().1.unwrap_err();
        assert!(matches!(error, LoadError::Panicked { .. }), "{error:?}");
        println!("{error}");
        return;
    }
    let plugins = Plugins::new();
    let file = plugins.install("third", &FIXTURES.third());
    let printed = again_with("a_panic_in_the_manifest_is_an_error", VARIABLE, &file);
    let expected = format!(
        "`{}` panicked while it was loaded (the backend panicked: the fixture's manifest); \
         report this to its author\n",
        file.canonicalize().unwrap().display()
    );
    assert!(printed.contains(&expected), "{printed}");
}

#[tokio::test]
async fn a_panic_in_connect_is_an_error() {
    let library = third();
    let error = connect(&library, &log(), &[("FIXTURE_CONNECT", "panics")])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Panicked);
    assert_eq!(error.message, "the backend panicked: the fixture's connect");

    let error = connect(&library, &log(), &[("FIXTURE_CONNECT", "refuses")])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.message, "no fixture today");
    assert_eq!(error.hint.as_deref(), Some("try tomorrow"));

    assert_alive(&connect(&library, &log(), &[]).await.unwrap()).await;
}

#[tokio::test]
async fn a_panic_in_start_is_an_error_of_that_call() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    for (command, text) in [
        ("panic-at-once", "the fixture's start at once"),
        ("panic-before-await", "the fixture's start before it waits"),
        ("panic-after-await", "the fixture's start after it waited"),
        ("panic-with-a-number", "(a panic without a text)"),
        ("panic-with-a-bomb", "(a panic without a text)"),
    ] {
        let error = start(&backend, command, &Recorder::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Panicked, "{command}");
        assert_eq!(error.message, format!("the backend panicked: {text}"));
        log().wait_for(text).await;
        assert_alive(&backend).await;
    }
}

#[tokio::test]
async fn a_panic_without_a_caller_is_logged() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    for (command, text) in [
        ("panic-in-a-task", "the fixture's task"),
        ("panic-in-a-thread", "the fixture's thread"),
        (
            "panic-in-drop-of-the-session",
            "the fixture's drop of the session",
        ),
    ] {
        drop(start(&backend, command, &Recorder::new()).await.unwrap());
        let line = log().wait_for(text).await;
        assert!(line.starts_with("1 the backend panicked at "), "{line}");
        assert!(line.contains("third.rs:"), "{line}");
        assert_alive(&backend).await;
    }
}

#[tokio::test]
async fn a_panic_while_a_call_is_cancelled_is_logged() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    let recorder = Recorder::new();
    let call = start(&backend, "panic-in-drop-of-the-call", &recorder);
    let cancelled = tokio::time::timeout(Duration::from_millis(50), call).await;
    assert!(cancelled.is_err());
    log().wait_for("the fixture's drop of the call").await;
    assert_alive(&backend).await;
}

#[tokio::test]
async fn a_panic_in_a_synchronous_call_is_an_error() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    let session = start(&backend, "panic-in-attach-command", &Recorder::new())
        .await
        .unwrap();
    let error = session.attach_command().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Panicked);
    assert_eq!(
        error.message,
        "the backend panicked: the fixture's attach command"
    );
    session.write(b"x").await.unwrap();
}

#[tokio::test]
async fn what_a_backend_does_not_implement_is_unsupported() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    let session = start(&backend, "ok", &Recorder::new()).await.unwrap();
    let error = session.prompt("hello", true).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(backend.list().await.unwrap(), []);
    let error = backend.adopt("1", Recorder::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_backends_own_events_reach_the_log() {
    let backend = connect(&third(), &log(), &[]).await.unwrap();
    start(&backend, "log", &Recorder::new()).await.unwrap();
    let line = log().wait_for("the fixture logs").await;
    assert_eq!(line, "2 the fixture logs number=7");
}

/// A backend is useless without a caught panic, so it must not even compile.
#[test]
fn a_profile_that_aborts_on_panics_does_not_compile() {
    let output = FIXTURES.build_with_abort();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("a backend must be built with panic = \"unwind\""),
        "{text}"
    );
}
