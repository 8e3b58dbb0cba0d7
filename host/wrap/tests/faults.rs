//! A library that does not do what it should: nobody else notices.

use agentd_host::testing::{DEADLINE, TestServer};
use tokio::time::timeout;

use crate::wrap;

/// A service is used as always.
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
