//! The web UI in a real Chromium, on the real orchestrator with each backend: runs the tests of
//! `host/ui/tests/e2e`. Needs Node.js and Chromium, tmux, and root for the Docker engine.
//! `cargo xtask test --only browser` builds the UI first.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;
use std::sync::{PoisonError, RwLock};

use agentd_host::testing::{TestBackend, TestProgram, leave_out};

const UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui");

/// Held by whoever measures, and by the others together: they wait more than they work.
static QUIET: RwLock<()> = RwLock::new(());

#[test]
fn pty() {
    let _quiet = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    run(|| Ok(TestBackend::pty()));
}

#[test]
fn tmux() {
    let _busy = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    run(TestBackend::tmux);
}

#[test]
fn docker() {
    let _busy = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    run(TestBackend::docker);
}

/// Runs the browser's tests on a backend.
fn run(start: impl FnOnce() -> Result<TestBackend, String>) {
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
    let service = backend.configure(program).start();
    let output = Command::new("npm")
        .args(["run", "e2e"])
        .current_dir(UI)
        .env("AGENTD_E2E_URL", format!("http://{}", service.address))
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
