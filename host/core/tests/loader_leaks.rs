//! What a backend leaves behind. One test in a process of its own, since it counts all of the
//! process's threads and descriptors.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fixtures/daemon.rs"]
mod daemon;
#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "fixtures/install.rs"]
mod install;

use std::fs;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use agentd_plugin_api::Size;
use agentd_plugin_api::testing::Recorder;
use daemon::{Log, connect, start};
use fixtures::FIXTURES;
use install::Plugins;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test]
async fn cancelled_calls_and_dropped_backends_leave_nothing() {
    let plugins = Plugins::new();
    plugins.install("third", &FIXTURES.third());
    let library = plugins.load("third").unwrap();
    let log = Arc::new(Log::default());
    let own_threads = threads();
    // The first runtime of a library opens what all of its later ones share.
    drop(connect(&library, &log, &[]).await.unwrap());
    wait_until("the first threads to end", || threads() == own_threads).await;
    let own_descriptors = descriptors();
    let backend = connect(&library, &log, &[]).await.unwrap();
    let session = start(&backend, "ok", &Recorder::new()).await.unwrap();
    let counts = || session.attach_command().unwrap().unwrap();
    assert_eq!(counts(), ["0", "0"]);
    let connected = (threads(), descriptors());
    assert!(connected.0 > own_threads);

    let size = Size { cols: 80, rows: 24 };
    let mut waker = Context::from_waker(Waker::noop());
    let mut calls: Vec<_> = (0..10_000)
        .map(|_| Box::pin(session.resize(size)))
        .collect();
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut waker).is_pending());
    }
    assert_eq!(counts()[0], "10000");
    drop(calls);
    assert_eq!(counts(), ["0", "0"]);
    assert_eq!((threads(), descriptors()), connected);

    drop(session);
    drop(backend);
    wait_until("the threads to end", || threads() == own_threads).await;
    wait_until("the descriptors to be closed", || {
        descriptors() == own_descriptors
    })
    .await;
}
