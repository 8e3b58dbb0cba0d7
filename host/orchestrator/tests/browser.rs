//! The web UI in a real Chromium, on the real orchestrator with each backend: runs the tests of
//! `host/ui/tests/e2e`. Needs Node.js and Chromium, tmux, and root for the Docker engine.
//! `cargo xtask test --only browser` builds the UI first.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;

use agentd_host::testing::{Certificate, TestBackend, TestProgram, build_library, leave_out};

const UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui");

/// What has a test of its own here, so that several browsers share the work.
const OF_THEIR_OWN: [&str; 5] = ["backends", "font", "measure", "terminal", "tls"];

/// What is the same on all backends, or needs a terminal for all that it does.
const ON_PTY_ALONE: [&str; 8] = [
    "attacks", "backends", "font", "links", "measure", "pictures", "signin", "tls",
];

type Settings<'a> = &'a [(&'a str, &'a str)];

#[test]
fn pty() {
    run(
        || Ok(TestBackend::kept()),
        &[],
        None,
        &all_but(&OF_THEIR_OWN),
    );
}

#[test]
fn pty_terminal() {
    let tests = ["terminal", "font"].map(file);
    run(|| Ok(TestBackend::kept()), &[], None, &tests);
}

/// By itself, while nothing else is run.
#[test]
fn measured() {
    run(|| Ok(TestBackend::kept()), &[], None, &[file("measure")]);
}

#[test]
fn tls() {
    let (certificate, tests) = (Certificate::new(), ["tls", "signin"].map(file));
    run(|| Ok(TestBackend::pty()), &[], Some(&certificate), &tests);
}

#[test]
fn tmux() {
    run(TestBackend::tmux, &[], None, &all_but(&ON_PTY_ALONE));
}

#[test]
fn docker() {
    run(TestBackend::docker, &[], None, &all_but(&ON_PTY_ALONE));
}

/// With `pty` as the default, and one beside it that is not there.
#[test]
fn several() {
    let start = || {
        build_library("agentd-backend-pty");
        TestBackend::tmux()
    };
    let settings = [
        ("AGENTD_BACKEND", "pty"),
        ("AGENTD_BACKENDS", "tmux,nonsense?"),
        ("AGENTD_KEEPER", "off"),
    ];
    run(start, &settings, None, &[file("backends")]);
}

fn file(name: &str) -> String {
    format!("tests/e2e/{name}.test.ts")
}

/// Vitest's arguments.
fn all_but(names: &[&str]) -> Vec<String> {
    let exclude = |name: &&str| format!("--exclude={}", file(name));
    names.iter().map(exclude).collect()
}

/// Runs the browser's tests on a backend and with these settings, those that vitest's arguments say.
fn run(
    start: impl FnOnce() -> Result<TestBackend, String>,
    settings: Settings<'_>,
    certificate: Option<&Certificate>,
    tests: &[String],
) {
    let node_modules = Path::new(UI).join("node_modules");
    for (needed, path) in [
        ("chromium", Path::new("/usr/bin/chromium")),
        ("`npm ci` in host/ui", &node_modules),
    ] {
        if !path.exists() {
            return leave_out(needed);
        }
    }
    let backend = match start() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let executable = env!("CARGO_BIN_EXE_agentd-orchestrator");
    let program = TestProgram::new("agentd-orchestrator", executable).env("LANG", "C.UTF-8");
    let directory = tempfile::tempdir().unwrap();
    backend.give(directory.path());
    let mut program = backend.configure(program);
    for (name, value) in settings {
        program = program.env(name, value);
    }
    let (scheme, service) = match certificate {
        None => ("http", program.start()),
        Some(certificate) => ("https", program.tls(certificate).start()),
    };
    let mut npm = Command::new("npm");
    if certificate.is_some() {
        npm.env("NODE_EXTRA_CA_CERTS", service.directory().join("cert.pem"));
    }
    let output = npm
        .args(["run", "e2e", "--"])
        .args(tests)
        .current_dir(UI)
        .env("AGENTD_E2E_URL", format!("{scheme}://{}", service.address))
        .env("AGENTD_E2E_TOKEN", &service.token)
        .env("AGENTD_E2E_DIRECTORY", directory.path())
        .output()
        .unwrap();
    // As a whole, since others may run; not captured, since it has what was measured.
    let mut shown = stdout().lock();
    shown.write_all(&output.stdout).unwrap();
    shown.write_all(&output.stderr).unwrap();
    drop(shown);
    let status = output.status;
    let failures = failures(&output.stderr);
    assert!(status.success(), "{}\n{status}\n{failures}", service.log());
}

/// What vitest says of what failed, after everything else.
fn failures(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let titles = ["Failed Suites", "Failed Tests"];
    let begin = titles.iter().filter_map(|title| output.find(title)).min();
    begin.map_or_else(String::new, |begin| output[begin..].to_owned())
}
