//! Libraries and daemons of different versions of the API.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fixtures/daemon.rs"]
mod daemon;
#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "fixtures/install.rs"]
mod install;

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use agentd_host::loader::LoadError;
use daemon::{Log, assert_alive, connect};
use fixtures::FIXTURES;
use install::Plugins;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

fn run_new_host(library: &Path) -> String {
    run_host(&FIXTURES.new_host(), library)
}

fn run_host(host: &Path, library: &Path) -> String {
    let output = Command::new(host).arg(library).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the daemon's log has of loading `echo`.
fn log_of_loading(plugins: &Plugins, level: Level) -> String {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(LogFile(lines.clone()))
        .finish();
    tracing::subscriber::with_default(log, || plugins.load("echo")).unwrap_err();
    String::from_utf8(lines.lock().unwrap().clone()).unwrap()
}

#[derive(Clone)]
struct LogFile(Arc<Mutex<Vec<u8>>>);

impl MakeWriter<'_> for LogFile {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn another_major_version_is_refused() {
    let plugins = Plugins::new();
    plugins.install("echo", &FIXTURES.library("agentd_backend_major"));
    let error = plugins.refusal("echo");
    assert!(
        matches!(&error, LoadError::ApiVersion { library, .. } if library == "2.0.0"),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("version 2.0.0 of agentd-plugin-api and this daemon has 1.3.0"),
        "{error}"
    );
}

#[tokio::test]
async fn a_library_of_the_next_minor_version_loads_today() {
    let plugins = Plugins::new();
    plugins.install("echo", &FIXTURES.library("agentd_backend_minor"));
    let library = plugins.load("echo").unwrap();
    assert_eq!(library.module.version(), "1.4.0");
    let backend = connect(&library, &Arc::new(Log::default()), &[])
        .await
        .unwrap();
    assert_alive(&backend).await;
}

#[test]
fn todays_library_loads_in_a_daemon_of_the_next_minor_version() {
    assert_eq!(
        run_new_host(&FIXTURES.echo()),
        "library 1.3.0\ndoctor None\npause the default\noutput hello\n"
    );
    let new = run_new_host(&FIXTURES.library("agentd_backend_minor"));
    assert!(
        new.contains("library 1.4.0\ndoctor Some(\"well\")\n"),
        "{new}"
    );
}

#[test]
fn a_daemon_of_1_0_refuses_only_what_needs_its_terminals() {
    let old_host = FIXTURES.old_host();
    let echo = run_host(&old_host, &FIXTURES.echo());
    assert_eq!(echo, "library 1.3.0\nconnected\n");
    let pty = run_host(&old_host, &FIXTURES.library("agentd_backend_pty"));
    assert_eq!(
        pty,
        "library 1.3.0\n\
         Invalid: the backend `pty` needs version 1.1.0 of agentd-plugin-api, and this daemon has \
         1.0.0\n\
         hint: Some(\"install a newer agentd, or the library that came with this one\")\n"
    );
}

#[test]
fn other_types_under_the_same_version_are_refused_both_ways() {
    let changed = FIXTURES.library("agentd_backend_changed");
    let plugins = Plugins::new();
    plugins.install("echo", &changed);
    let error = plugins.refusal("echo");
    let LoadError::Layout { summary, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(
        summary.contains("kind") && summary.contains("message"),
        "{summary}"
    );
    assert_eq!(error.hints(), ["RUST_LOG=debug shows every difference"]);

    assert!(!log_of_loading(&plugins, Level::INFO).contains("Layout of expected type"));
    assert!(log_of_loading(&plugins, Level::DEBUG).contains("Layout of expected type"));

    let by_new_host = run_new_host(&changed);
    assert!(by_new_host.starts_with("layout: "), "{by_new_host}");
}
