//! What becomes of a start when the machine has no more to give.

use agentd_host::testing::{TestProgram, may_make_namespaces};

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

#[tokio::test]
async fn no_more_descriptors() {
    let script = r#"ulimit -n 64 && exec "$0""#;
    let (started, refusal) = runs_out(started_by(script)).await;
    assert!(started > 3, "{started}: {refusal}");
    assert!(refusal.contains("ulimit -n"), "{refusal}");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_that_stops_the_next_start() {
    if !may_make_namespaces() {
        return;
    }
    let script = r#"exec unshare --mount sh -c '
        mkdir "$AGENTD_STATE_DIR" && cd "$AGENTD_STATE_DIR" && mount -t tmpfs -o size=64k tmpfs . &&
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
