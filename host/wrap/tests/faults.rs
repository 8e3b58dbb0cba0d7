//! A library that does not do what it should: nobody else notices.

use std::fs;

use agentd_host::testing::{DEADLINE, TestServer, TestSession, eventually};
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wrap;

/// More calls than the service has threads of its own.
const MANY: usize = 8;

/// Those of a library (`plugin-api/src/abi/calls.rs`).
const THREADS: usize = 16;

/// Sessions whose start does what `command` says.
fn starting(server: &TestServer, command: &str, count: usize) -> Vec<JoinHandle<TestSession>> {
    let start = |number| {
        let (client, command) = ((**server).clone(), command.to_owned());
        tokio::spawn(async move { client.start(&format!("held{number}"), &[&command]).await })
    };
    (0..count).map(start).collect()
}

async fn held_up(server: &TestServer, count: usize) {
    eventually("all calls hold up a thread", async || {
        let files = fs::read_dir(server.work_dir()).unwrap();
        let held = files.filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("held-up-")
        });
        (held.count() == count).then_some(())
    })
    .await;
}

/// A service is used as always. With a deadline: a thread that is held up waits for the test.
async fn others_go_on(server: &TestServer) {
    let use_it = async {
        server.get("/health").await.expect(200);
        let session = server.start("bystander", &["run"]).await;
        assert_eq!(session.logs("?tail=1").await, ["line 5"]);
        server.get("/sessions").await.expect(200);
        session.delete().await;
    };
    timeout(DEADLINE, use_it).await.unwrap();
}

fn go(server: &TestServer) {
    fs::write(server.work_dir().join("go"), "").unwrap();
}

async fn a_start_that_holds_up(how: &str, count: usize) {
    let server = wrap("fixture");
    let starts = starting(&server, how, count);
    held_up(&server, count).await;
    others_go_on(&server).await;
    go(&server);
    for session in join_all(starts).await {
        session.unwrap().delete().await;
    }
    others_go_on(&server).await;
}

/// Fault: a library blocks its caller's thread, in more calls at once than there are threads. Then: everything else
/// is served, and the calls succeed when it goes on.
#[tokio::test]
async fn a_library_that_blocks_its_threads_stops_nobody_else() {
    a_start_that_holds_up("block", MANY).await;
}

/// Fault: a library blocks in more calls than it has threads. Then: its other calls wait, the service answers, and
/// the calls succeed when it goes on.
#[tokio::test]
async fn a_library_that_blocks_all_its_threads_does_not_stop_the_service() {
    let server = wrap("fixture");
    let starts = starting(&server, "block", 3 * THREADS);
    held_up(&server, THREADS).await;
    let answers = async {
        server.get("/health").await.expect(200);
        eventually("all sessions are listed", async || {
            let listed = server.get("/sessions").await.expect(200).json();
            (listed["items"].as_array().unwrap().len() == 3 * THREADS).then_some(())
        })
        .await;
    };
    timeout(DEADLINE, answers).await.unwrap();
    go(&server);
    for session in join_all(starts).await {
        session.unwrap().delete().await;
    }
    others_go_on(&server).await;
}

/// Fault: a library computes on and on in calls. Then: everything else is served.
#[tokio::test]
async fn a_library_that_never_yields_stops_nobody_else() {
    a_start_that_holds_up("spin", 3).await;
}

/// Fault: a library blocks its caller's thread while it ends sessions. Then: everything else is served.
#[tokio::test]
async fn a_library_that_blocks_while_sessions_end_stops_nobody_else() {
    let server = wrap("fixture");
    let start = |number| {
        let client = &server;
        async move {
            let name = format!("held{number}");
            client.start(&name, &["block-at-the-end"]).await
        }
    };
    let sessions = join_all((0..MANY).map(start)).await;
    let delete = |session: TestSession| tokio::spawn(async move { session.delete().await });
    let deletions: Vec<_> = sessions.into_iter().map(delete).collect();
    held_up(&server, MANY).await;
    others_go_on(&server).await;
    go(&server);
    for deletion in join_all(deletions).await {
        deletion.unwrap();
    }
}

/// Fault: a library reports ends that there are not, again and again, and texts of a megabyte that a terminal would
/// obey. Then: its session is shown without them and can be deleted; others are served.
#[tokio::test]
async fn a_library_that_reports_garbage_spoils_its_own_session_and_no_other() {
    let server = wrap("fixture");
    let session = server.start("demo", &["garbage"]).await;
    let shown = server.get(&session.path).await.expect(200);
    assert!(shown.body.len() < 10_000, "{} bytes", shown.body.len());
    let exit = session.ended().await;
    assert_eq!((exit.code, exit.signal), (None, None));
    let reason = exit.reason.unwrap_or_default();
    assert!(!reason.contains(char::is_control), "{reason:?}");
    let log = server
        .get(&format!("{}/logs", session.path))
        .await
        .expect(200);
    for line in log.body.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["ts"].is_null(), "{}", line["ts"]);
    }
    others_go_on(&server).await;
    session.delete().await;
}

/// Fault: a library writes a hundred thousand lines to the log. Then: most are left out, it says so, and nothing waits.
#[tokio::test]
async fn a_library_that_floods_the_log_is_cut_short_there() {
    let daemon = crate::program()
        .env("AGENTD_BACKEND", "fixture")
        .env(
            "AGENTD_PLUGIN_DIR",
            agentd_host::testing::example_libraries(),
        )
        .start();
    daemon.start("flood", &["flood-log"]).await;
    daemon.get("/health").await.expect(200);
    daemon.start("next", &["run"]).await;
    assert!(daemon.log().contains("the backend's log is left out"));
    let lines = daemon.log().lines().count();
    assert!(lines < 50_000, "{lines} lines");
}
