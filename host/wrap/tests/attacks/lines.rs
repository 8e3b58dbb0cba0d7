//! Text of strangers that is meant for a header, a line of the log, or a path.

use agentd_host::testing::{RunningProgram, eventually};
use serde_json::json;
use warp::http::Method;

use crate::{program, wrap};

/// Attack: paths that lead elsewhere once somebody decodes, joins or cleans them. Then: without the token
/// 401, 403 or 404; with it they are no other path than they say.
#[tokio::test]
async fn paths_are_what_they_say() {
    let server = wrap("pty");
    server.start("demo", &["cat"]).await;
    let bearer = server.bearer();
    for path in [
        "//sessions",
        "///sessions",
        "/sessions//",
        "/sessions//demo",
        "/./sessions",
        "/../sessions",
        "/login/../sessions",
        "/login/..;/sessions",
        "/info/../sessions/demo",
        "/info;/../sessions",
        "/sessions/./demo",
        "/sessions/x/../demo",
        "/sessions/%2e%2e/sessions",
        "/%2e%2e/sessions",
        "/info%2f..%2fsessions",
        "/%73essions",
        "/sess%69ons/demo",
        "/SESSIONS",
        "/sessions\\demo",
        "/sessions/demo%00",
        "/sessions/demo%20",
        "/sessions/demo%0d%0aX:%20y",
        "/sessions/d%65mo",
        "/sessions/demo;a=b",
        "/sessions/demo.json",
        "/sessions/demo/logs/../../../tokens",
        "/sessions/demo%2flogs",
        "/sessions/%ff",
        "/sessions/%",
        "/sessions/%zz",
        "/sessions/..%c0%af..",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/..\\..\\etc\\passwd",
    ] {
        for authorization in ["", &format!("Authorization: {bearer}\r\n")] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", server.address);
            let request = format!("{head}{authorization}Connection: close\r\n\r\n");
            let answer = server.raw(request.as_bytes()).await;
            let status = answer.split(' ').nth(1).unwrap_or_default();
            let is_refused = ["400", "401", "403", "404"].contains(&status);
            assert!(is_refused, "{path} {authorization}: {answer}");
            assert!(!answer.contains("\"demo\""), "{path}: {answer}");
            assert!(!answer.contains("root:"), "{path}: {answer}");
        }
    }
    server.get("/sessions/demo").await.expect(200);
}

/// What would be a line of its own, or steer a person's terminal.
const FORGED: &str = "x\r\nFORGED: 1\n\u{1b}[2J\u{1b}]0;FORGED\u{7}\u{9b}2J\u{202e}\u{85}FORGED";

/// No line begins with what somebody has sent, and nothing in it steers a terminal.
#[track_caller]
fn is_clean(text: &str) {
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("FORGED"), "{line:?}");
        let steers = |character: char| character.is_control() && character != '\t';
        assert!(!line.contains(steers), "{line:?}");
        assert!(!line.contains('\u{202e}'), "{line:?}");
    }
}

/// Attack: line ends and control characters in everything that a client can send: names, commands,
/// directories, variables, options, queries, headers, methods, prompts. Then: no answer has a header of
/// theirs, and no line of the log at `trace` begins with them or has a control character.
#[tokio::test]
async fn nobody_writes_lines_into_headers_and_logs() {
    let daemon = program().env("RUST_LOG", "trace").start();
    let demo = daemon.script("demo", "exec cat").await;
    let mut bodies = Vec::new();
    for field in [
        "name",
        "working_dir",
        "agent",
        "provider",
        "model",
        "backend",
    ] {
        let mut body = daemon.new_session(field, &["true"]);
        body[field] = json!(FORGED);
        bodies.push(body);
    }
    for (field, value) in [
        ("command", json!([FORGED])),
        ("command", json!(["true", FORGED])),
        ("env", json!({FORGED: FORGED})),
        ("env", json!({"A": FORGED})),
        ("options", json!({FORGED: FORGED})),
        ("labels", json!({FORGED: FORGED})),
        (FORGED, json!(1)),
    ] {
        let mut body = daemon.new_session(&format!("s{}", bodies.len()), &["true"]);
        body[field] = value;
        bodies.push(body);
    }
    for body in &bodies {
        let answer = daemon.create(body).await;
        // A program may have any arguments.
        assert!(
            [201, 400, 422].contains(&answer.status),
            "{body}: {answer:?}"
        );
        assert_eq!(answer.header("forged"), "");
    }
    demo.prompt(FORGED).await.expect(202);
    let mut terminal = demo.terminal("").await;
    terminal.hello().await;
    terminal.send_text(FORGED).await;
    terminal
        .wait_for("a refusal", |terminal| !terminal.errors().is_empty())
        .await;
    let login = daemon.post("/login", &json!({"token": FORGED, "code": FORGED}));
    login.without_token().await.expect(401);
    for path in [
        "/sessions/%0d%0aFORGED:%201",
        "/sessions/demo/logs?since=%0d%0aFORGED",
        "/sessions/demo/logs?tail=%1b%5b2J",
        "/sessions/demo/terminal?mode=%0aFORGED",
        "/%0d%0aFORGED:%201?%0d%0aFORGED",
    ] {
        for method in [Method::GET, Method::DELETE] {
            let answer = daemon.request(method, path).await;
            assert!(answer.status >= 400, "{path}: {answer:?}");
            assert_eq!(answer.header("forged"), "");
        }
    }
    raw_lines(&daemon).await;
    daemon.delete("/sessions/the-last-one").await.expect(404);
    let log = eventually("the last request in the log", async || {
        let log = daemon.log();
        log.contains("the-last-one").then_some(log)
    })
    .await;
    assert!(log.contains("DEBUG"), "no log to search");
    is_clean(&log);
}

/// Headers and methods that a client library would not send.
async fn raw_lines(daemon: &RunningProgram) {
    let own = format!(
        "Host: {}\r\nAuthorization: {}\r\n",
        daemon.address,
        daemon.bearer()
    );
    let requests: [&[u8]; 7] = [
        b"FORGED /sessions HTTP/1.1\r\n",
        b"GET /sessions\x1b[2J HTTP/1.1\r\n",
        b"GET /sessions HTTP/1.1\r\nUser-Agent: \xff\xc2\x9b2J\r\n",
        b"GET /sessions HTTP/1.1\r\nX-Forwarded-For: \xc2\x9b2J\xe2\x80\xae\r\n",
        b"POST /sessions HTTP/1.1\r\nIdempotency-Key: \xe2\x80\xae\xc2\x9b2J\r\n",
        b"GET /sessions HTTP/1.1\r\nCookie: a=\xc2\x9b2J; \xe2\x80\xae=1\r\n",
        b"GET /sessions HTTP/1.1\r\nOrigin: \xe2\x80\xae\r\n",
    ];
    for request in requests {
        let bytes = [request, own.as_bytes(), b"Connection: close\r\n\r\n"].concat();
        let answer = daemon.raw(&bytes).await;
        let head = answer.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.contains("FORGED"), "{answer}");
        is_clean(&head.replace('\r', ""));
    }
}
