//! The web UI in a real Chromium, on the real orchestrator with each backend: runs the tests of
//! `host/ui/tests/e2e`. Needs Node.js and Chromium, tmux, and root for the Docker engine.
//! `cargo xtask test --only browser` builds the UI first.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;

use agentd_host::testing::{Certificate, TestBackend, TestProgram, leave_out};

const UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui");

#[test]
fn pty() {
    run(|| Ok(TestBackend::kept()));
}

#[test]
fn tls() {
    let certificate = Certificate::new();
    let of_tls = ["tests/e2e/tls.test.ts", "tests/e2e/signin.test.ts"];
    run_tests(|| Ok(TestBackend::pty()), Some(&certificate), &of_tls);
}

#[test]
fn tmux() {
    run(TestBackend::tmux);
}

#[test]
fn docker() {
    run(TestBackend::docker);
}

/// Runs the browser's tests on a backend.
fn run(start: impl FnOnce() -> Result<TestBackend, String>) {
    run_tests(start, None, &[]);
}

/// Runs those of the browser's tests; all of them if none are named.
fn run_tests(
    start: impl FnOnce() -> Result<TestBackend, String>,
    certificate: Option<&Certificate>,
    tests: &[&str],
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
    let program = backend.configure(program);
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
    assert!(status.success(), "{status}\n{}", service.log());
}
