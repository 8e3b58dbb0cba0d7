//! What a service leaves of its memory when it dies of a signal.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use agentd_host::testing::{
    RunningProgram, TestClient, TestProgram, example_libraries, in_own_kernel,
};
use rustix::process::Signal;
use serde_json::json;

const TOKEN: &str = "planted-token-of-the-admin";

/// As many core files as the machine makes, and they would be in its directory.
const UNLIMITED: &str = r#"ulimit -c "$(ulimit -H -c)"; cd "$HOME"; exec "$0""#;

fn service() -> TestProgram {
    TestProgram::new("agentd-wrap", "sh")
        .arg("-c")
        .arg(UNLIMITED)
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
        .env("AGENTD_TOKEN", TOKEN)
}

fn admin(daemon: &RunningProgram) -> TestClient {
    let mut admin = (**daemon).clone();
    TOKEN.clone_into(&mut admin.token);
    admin
}

/// Whether this machine makes core files at all.
fn are_made() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", UNLIMITED, "sh"])
        .env("HOME", directory.path());
    let mut child = shell.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"kill -ABRT $$\n").unwrap();
    drop(input);
    child.wait().unwrap().core_dumped()
}

/// The files in a directory, and not below it, by name.
fn files_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Sees that it has ended of that signal without a core file.
async fn leaves_nothing(mut daemon: RunningProgram, signal: Signal) {
    let status = daemon.ended().await;
    assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    assert!(!status.core_dumped(), "{status}");
    let files = files_in(daemon.directory());
    assert!(!files.iter().any(|name| name.contains("core")), "{files:?}");
}

/// Attack: a service with secrets in its memory dies of a signal that has a core file written. Then: there is none.
#[tokio::test]
async fn a_service_that_dies_leaves_no_core_file() {
    in_own_kernel("attacks::cores::a_service_dies").await;
}

#[tokio::test]
#[ignore = "another test runs it, under a kernel of its own, which makes core files"]
async fn a_service_dies() {
    assert!(are_made());
    for signal in [Signal::ABORT, Signal::SEGV, Signal::TRAP] {
        let daemon = service().start();
        let mut body = daemon.new_session("demo", &["cat"]);
        body["env"] = json!({"KEY": "planted-value-of-a-variable"});
        admin(&daemon).create(&body).await.expect(201);
        daemon.signal(signal);
        leaves_nothing(daemon, signal).await;
    }
    let daemon = service()
        .env("AGENTD_BACKEND", "aborts")
        .env("AGENTD_PLUGIN_DIR", example_libraries())
        .start();
    fs::write(daemon.work_dir().join("abort"), "").unwrap();
    let admin = admin(&daemon);
    let start = admin.post("/sessions", &admin.new_session("demo", &["cat"]));
    assert!(start.unless_cut().await.is_none());
    leaves_nothing(daemon, Signal::ABORT).await;
}

/// A person may want that of their own programs.
#[tokio::test]
async fn an_agent_that_dies_leaves_a_core_file_where_the_machine_makes_them() {
    in_own_kernel("attacks::cores::an_agent_dies").await;
}

#[tokio::test]
#[ignore = "another test runs it, under a kernel of its own, which makes core files"]
async fn an_agent_dies() {
    let daemon = service().start();
    let admin = admin(&daemon);
    let script = "sh -c 'kill -ABRT $$'; echo \"ended with $?, $(ulimit -c)\"";
    let body = admin.new_session("demo", &["/bin/bash", "-c", script]);
    let session = admin.start_with(&body).await;
    session.ended().await;
    let limit = Command::new("sh").args(["-c", "ulimit -H -c"]).output();
    let limit = String::from_utf8(limit.unwrap().stdout).unwrap();
    let lines = session.logs("").await;
    let said = lines.iter().any(|line| line.contains("core dumped"));
    let last = format!("ended with 134, {}", limit.trim());
    assert!(said && lines.contains(&last), "{lines:?}");
}
