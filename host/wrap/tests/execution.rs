//! Programs that the kernel does not execute: the request is refused with the kernel's reason, and
//! nothing is left of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_host::testing::{RunningProgram, TestProgram};
use serde_json::{Value, json};

/// A daemon whose children leave core files, if the machine makes any.
fn daemon() -> RunningProgram {
    TestProgram::new("agentd-wrap", "sh")
        .arg("-c")
        .arg(r#"ulimit -c "$(ulimit -H -c)"; exec "$0""#)
        .arg(env!("CARGO_BIN_EXE_agentd-wrap"))
        .start()
}

fn script(directory: &Path, name: &str, text: &str) {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Sees that a session with these fields is refused with these words, and leaves nothing.
async fn refused(daemon: &RunningProgram, fields: Value, reason: &str) -> agentd_api::Problem {
    let before = fs::read_dir(daemon.work_dir()).unwrap().count();
    let mut body = daemon.new_session("wrong", &["true"]);
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let problem = daemon.create(&body).await.problem(422, "refused");
    assert!(problem.detail.contains(reason), "{problem:?}");
    daemon
        .get("/sessions/wrong")
        .await
        .problem(404, "not-found");
    let after = fs::read_dir(daemon.work_dir()).unwrap().count();
    assert_eq!(after, before, "a file was left");
    problem
}

#[tokio::test]
async fn a_script_without_its_interpreter() {
    let daemon = daemon();
    script(daemon.work_dir(), "script", "#!/no/such/interpreter\n");
    let problem = refused(
        &daemon,
        json!({"command": ["./script"]}),
        "`./script` cannot be run: No such file or directory",
    )
    .await;
    assert!(problem.hint.unwrap().contains("interpreter"));
    script(daemon.work_dir(), "directory", "#!/tmp\n");
    let command = json!({"command": ["./directory"]});
    refused(&daemon, command, "Permission denied").await;
}

#[tokio::test]
async fn an_argument_or_a_variable_of_more_than_128_kib() {
    let daemon = daemon();
    let long = "x".repeat(128 * 1024);
    for fields in [
        json!({"command": ["true", long]}),
        json!({"env": {"LONG": long}}),
    ] {
        let problem = refused(
            &daemon,
            fields,
            "`true` cannot be run: Argument list too long",
        );
        assert!(problem.await.hint.unwrap().contains("128 KiB"));
    }
}

#[tokio::test]
async fn a_program_that_is_being_written() {
    let daemon = daemon();
    let file = daemon.work_dir().join("program");
    fs::copy("/bin/true", &file).unwrap();
    let writer = fs::File::options().append(true).open(&file).unwrap();
    refused(
        &daemon,
        json!({"command": ["./program"]}),
        "`./program` cannot be run: Text file busy",
    )
    .await;
    drop(writer);
    let session = daemon.start("right", &["./program"]).await;
    assert_eq!(session.ended().await.code, Some(0));
}
