//! What is good for one use, used by many at the same time.

use agentd_host::testing::RunningProgram;
use futures_util::future::join_all;
use serde_json::json;
use warp::http::Method;

use crate::program;

/// How many try it at once.
const CROWD: usize = 100;

/// With no limit that would refuse one of many unlooked at.
fn patient() -> RunningProgram {
    program()
        .env("AGENTD_MAX_FAILED_SIGN_INS", "10000")
        .env("AGENTD_MAX_REQUESTS_PER_SECOND", "10000")
        .start()
}

/// Attack: a hundred sign in with the same one-time code at the same moment. Then: one of them is let in,
/// and all others get 401.
#[tokio::test]
async fn of_many_who_use_a_code_one_signs_in() {
    let daemon = patient();
    for _ in 0..3 {
        let made = daemon.request(Method::POST, "/login/codes").await;
        let code = made.expect(201).json()["code"].clone();
        let tries = (0..CROWD).map(async |_| {
            let login = daemon.post("/login", &json!({"code": code}));
            login.without_token().await.status
        });
        let mut statuses = join_all(tries).await;
        statuses.sort_unstable();
        assert_eq!(statuses[0], 204);
        assert_eq!(statuses[1..], [401; CROWD - 1]);
    }
}

/// Attack: a hundred open a terminal with the same ticket at the same moment. Then: one of them is let in,
/// and all others get 401.
#[tokio::test]
async fn of_many_who_use_a_ticket_one_opens_a_terminal() {
    let daemon = patient();
    let demo = daemon.start("demo", &["cat"]).await;
    for _ in 0..3 {
        let made = daemon.request(Method::POST, "/tickets").await.expect(201);
        let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
        let path = format!("{}/terminal?ticket={ticket}", demo.path);
        let tries = (0..CROWD).map(async |_| daemon.terminal(&path, &[]).await);
        let (opened, refused): (Vec<_>, Vec<_>) =
            join_all(tries).await.into_iter().partition(Result::is_ok);
        assert_eq!(opened.len(), 1);
        assert!(refused.iter().all(|refused| matches!(refused, Err(401))));
    }
}

/// Attack: a browser signs out while it asks for a hundred tickets and uses them. Then: what was opened
/// before ends with 4003, and nothing is opened after.
#[tokio::test]
async fn nothing_that_is_opened_while_somebody_signs_out_stays_open() {
    let daemon = patient();
    let demo = daemon.start("demo", &["cat"]).await;
    let login = daemon.post("/login", &json!({"token": daemon.token}));
    let login = login.without_token().await.expect(204);
    let cookie = login.header("set-cookie").split(';').next().unwrap();
    let ask = |path: &str| {
        let request = daemon.request(Method::POST, path).without_token();
        let request = request.header("cookie", cookie);
        request.header("agentd-key", login.header("agentd-key"))
    };
    let open = async |number: usize| {
        if number == CROWD / 2 {
            ask("/logout").await.expect(204);
            return None;
        }
        let made = ask("/tickets").await;
        if made.status == 401 {
            return None;
        }
        let made = made.expect(201).json();
        let ticket = made["ticket"].as_str().unwrap();
        let path = format!("{}/terminal?ticket={ticket}", demo.path);
        daemon.terminal(&path, &[]).await.ok()
    };
    let opened = join_all((0..CROWD).map(open)).await;
    for mut terminal in opened.into_iter().flatten() {
        assert_eq!(terminal.closed().await, 4003);
    }
    ask("/tickets").await.problem(401, "unauthorized");
    demo.until("nobody watches", |session| session.viewers == 0)
        .await;
}
