//! The web UI in a real Chromium, on the real orchestrator with each backend: runs the tests of
//! `host/ui/tests/e2e`. Needs Node.js and Chromium, tmux, and root for the Docker engine.
//! `cargo xtask test --only browser` builds the UI first.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what fails here fails the test, and what is left out is said"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agentd_host::testing::{TestProgram, build_library};

const UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui");

#[test]
fn pty() {
    let directory = tempfile::tempdir().unwrap();
    run(orchestrator("pty"), directory.path());
}

#[test]
fn tmux() {
    if is_left_out("tmux", Path::new("/usr/bin/tmux").exists()) {
        return;
    }
    let server = TmuxServer(format!("agentd-browser-{}", std::process::id()));
    let directory = tempfile::tempdir().unwrap();
    run(
        orchestrator("tmux").env("AGENTD_TMUX_SOCKET", &server.0),
        directory.path(),
    );
}

#[test]
fn docker() {
    let is_here = rustix::process::geteuid().is_root() && Path::new("/usr/sbin/dockerd").exists();
    if is_left_out("Debian's docker.io, or root", is_here) {
        return;
    }
    let engine = Engine::start();
    let program = orchestrator("docker")
        .env("DOCKER_HOST", &engine.docker_host)
        .env("AGENTD_DOCKER_IMAGE", &engine.image);
    // The directory of a container is never root's.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(1000), Some(1000)).unwrap();
    run(program, directory.path());
}

fn orchestrator(backend: &str) -> TestProgram {
    build_library(&format!("agentd-backend-{backend}"));
    let executable = env!("CARGO_BIN_EXE_agentd-orchestrator");
    TestProgram::new("agentd-orchestrator", executable)
        .env("AGENTD_BACKEND", backend)
        .env("LANG", "C.UTF-8")
}

/// Runs the browser's tests against the program, in a directory for its agents.
fn run(program: TestProgram, directory: &Path) {
    let chromium = Path::new("/usr/bin/chromium").exists();
    let node_modules = Path::new(UI).join("node_modules").exists();
    if is_left_out("chromium", chromium) || is_left_out("`npm ci` in host/ui", node_modules) {
        return;
    }
    let service = program.start();
    let status = Command::new("npm")
        .args(["run", "e2e"])
        .current_dir(UI)
        .env("AGENTD_E2E_URL", format!("http://{}", service.address))
        .env("AGENTD_E2E_TOKEN", &service.token)
        .env("AGENTD_E2E_DIRECTORY", directory)
        .status()
        .unwrap();
    assert!(status.success(), "{status}\n{}", service.log());
}

/// A missing tool is a failure in CI, and said elsewhere.
fn is_left_out(tool: &str, is_here: bool) -> bool {
    assert!(
        is_here || std::env::var_os("CI").is_none(),
        "missing: {tool}"
    );
    if !is_here {
        eprintln!("left out, as this is missing: {tool}");
    }
    !is_here
}

/// Ends the server of its name when it is dropped.
struct TmuxServer(String);

impl Drop for TmuxServer {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.0, "kill-server"])
            .output();
    }
}

/// The engine of the docker backend's own tests; ends with its standard input.
struct Engine {
    process: Child,
    docker_host: String,
    image: String,
}

impl Engine {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO"))
            .args([
                "run",
                "--quiet",
                "--package",
                "agentd-backend-docker",
                "--example",
                "engine",
            ])
            .current_dir(PathBuf::from(UI).join("../.."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| address[name].as_str().unwrap().to_owned();
        Engine {
            docker_host: text("docker_host"),
            image: text("image"),
            process,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
