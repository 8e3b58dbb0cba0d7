//! What becomes of a start when the machine has no more to give.

use std::process::Command;
use std::sync::Arc;

use agentd_host::loader::{self, BackendName, SearchPath, Trust};
use agentd_host::testing::{DEADLINE, TestProgram, libraries, may_make_namespaces};
use agentd_host::{Backend, Services};

use crate::program;

/// More than a process has room for (2^47), so that no thread can be made with it.
const NO_STACK: &str = "140737488355328";

/// A daemon that this script starts as `$0`.
fn started_by(script: &str) -> TestProgram {
    TestProgram::new("agentd-wrap", "sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
}

/// Starts sessions until one is refused, and sees that it was the lack that refused it: how many
/// were started, and the refusal.
async fn runs_out(program: TestProgram) -> (u32, String) {
    let daemon = program.start();
    let mut started = 0;
    let refusal = loop {
        let new = daemon.new_session(&format!("s{started}"), &["cat"]);
        let answer = daemon.create(&new).await;
        if answer.status != 201 {
            break answer;
        }
        started += 1;
    };
    daemon.delete("/sessions/s0").await.expect(204);
    daemon.start("another", &["cat"]).await;
    (started, refusal.expect(503).body)
}

/// Fault: the machine has no more PTYs. Then: a start is refused with what to raise, and succeeds when one is
/// free.
#[tokio::test]
async fn no_more_terminals() {
    if !may_make_namespaces() {
        return;
    }
    let script = r#"exec unshare --mount sh -c '
        mount -t devpts -o newinstance,ptmxmode=0666,max=3 devpts /dev/pts && exec "$0"
    ' "$0""#;
    let (started, refusal) = runs_out(started_by(script)).await;
    assert_eq!(started, 3);
    assert!(refusal.contains("no terminal can be opened"), "{refusal}");
    assert!(refusal.contains("kernel.pty.max"), "{refusal}");
}

/// Fault: the service has no more descriptors. Then: a start is refused with what to raise, and succeeds when
/// some are free.
#[tokio::test]
async fn no_more_descriptors() {
    let script = r#"ulimit -n 80 && exec "$0""#;
    let (started, refusal) = runs_out(started_by(script)).await;
    assert!(started > 3, "{started}: {refusal}");
    assert!(refusal.contains("ulimit -n"), "{refusal}");
}

/// Fault: the disk is full at the first start. Then: it says so and leaves nothing that stops the next one.
#[tokio::test]
async fn a_full_disk_leaves_nothing_that_stops_the_next_start() {
    if !may_make_namespaces() {
        return;
    }
    let script = r#"exec unshare --mount sh -c '
        mkdir "$AGENTD_STATE_DIR" && cd "$AGENTD_STATE_DIR" && mount -t tmpfs -o size=64k,mode=700 tmpfs . &&
        cd "$AGENTD_STATE_DIR" || exit
        head -c 1000000 /dev/zero >full
        "$0"; echo "first $?"; find . -type f
        rm full
        "$0" & until [ -s token ]; do sleep 0.1; done
        kill -TERM $!; wait $!; echo "second $?"
    ' "$0""#;
    let ended = started_by(script).ends().await;
    let (stdout, stderr) = (&ended.stdout, &ended.stderr);
    assert!(stdout.starts_with("first 1\n./full\n"), "{stdout} {stderr}");
    assert!(stdout.ends_with("second 0\n"), "{stdout} {stderr}");
    assert!(stderr.contains("Error: the state directory `"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

/// Fault: no thread can be made at the start. Then: the service ends with a sentence.
#[tokio::test]
async fn no_threads_at_all() {
    let ended = program().env("RUST_MIN_STACK", NO_STACK).ends().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let expected = "Error: listening for signals: Resource temporarily unavailable (os error 11)\n\
                    hint: ";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// The service runs, the library gets no thread: each has a standard library of its own, which
/// reads the variable when it makes its first thread.
/// Fault: no thread can be made for the library. Then: the start ends with a sentence.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the process is this test's own, and the host must have its threads before"
)]
async fn no_threads_for_the_backend() {
    const VARIABLE: &str = "TEST_OF_A_BACKEND_WITHOUT_THREADS";
    if std::env::var_os(VARIABLE).is_some() {
        std::thread::spawn(|| ()).join().unwrap();
        // SAFETY: this is the only test of its process, and nothing else runs in it.
        unsafe { std::env::set_var("RUST_MIN_STACK", NO_STACK) };
        let search = SearchPath::new(Some(libraries().as_os_str()), None, None).unwrap();
        let name = BackendName::parse("pty".as_ref()).unwrap();
        let library = loader::load(&name, &search, Trust::Strict).unwrap();
        let (services, config) = (Arc::new(Services::default()), Default::default());
        let connected = Backend::connect(&library, services, &config, DEADLINE).await;
        let error = connected.err().unwrap();
        println!("{:?}: {}", error.exit_code, error.message);
        return;
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "limits::no_threads_for_the_backend",
            "--nocapture",
        ])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{}: {again:?}", again.status);
    let expected = "Unavailable: starting the backend's threads: Resource temporarily unavailable \
                    (os error 11)\n";
    assert!(printed.contains(expected), "{again:?}");
}
