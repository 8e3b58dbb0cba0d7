use serde_json::json;
use warp::http::Method;

use crate::orchestrator;

/// Attack: each of the orchestrator's routes without the token, by a foreign name, or from a foreign
/// page. Then: 401 or 403.
#[tokio::test]
async fn without_the_token_only_open_routes_answer() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let under = |what: &str| format!("{}/{what}", agent.path);
    for (method, path) in [
        ("GET", "/agents".to_owned()),
        ("POST", "/agents".to_owned()),
        ("GET", agent.path.clone()),
        ("DELETE", agent.path.clone()),
        ("POST", under("stop")),
        ("POST", under("restart")),
        ("POST", under("input")),
        ("POST", under("keys")),
        ("GET", under("logs")),
        ("GET", "/events".to_owned()),
        ("GET", "/backend".to_owned()),
    ] {
        let method: Method = method.parse().unwrap();
        let ask = || {
            server
                .request(method.clone(), &path)
                .header("content-type", "application/json")
        };
        ask()
            .without_token()
            .body("{}")
            .await
            .problem(401, "unauthorized");
        ask()
            .token("wrong")
            .body("{}")
            .await
            .problem(401, "unauthorized");
        let foreign = ask().header("host", "evil.example").body("{}").await;
        foreign.problem(403, "host-not-allowed");
        let foreign = ask()
            .header("origin", "http://evil.example")
            .body("{}")
            .await;
        foreign.problem(403, "origin-not-allowed");
    }
    agent.show().await;
    let terminal = under("terminal");
    assert_eq!(server.terminal(&terminal, &[]).await.unwrap_err(), 401);
}

/// Attack: the page is framed, reached by a foreign name, or asked for a file outside. Then: its headers
/// forbid it, 403, 404.
#[tokio::test]
async fn the_ui_is_for_everybody_and_its_pages_are_not_framed() {
    let server = orchestrator("echo");
    let page = server.get("/").without_token().await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.header("content-security-policy")
            .contains("default-src")
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("x-frame-options"), "DENY");
    let again = server
        .get("/")
        .header("if-none-match", page.header("etag"))
        .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    server
        .get("/no/such/file.js")
        .await
        .problem(404, "not-found");
    server.get("/../Cargo.toml").await.problem(404, "not-found");
    server
        .get("/")
        .header("host", "evil.example")
        .await
        .problem(403, "host-not-allowed");
}

#[tokio::test]
async fn a_browser_sees_agents_with_both_halves_of_its_sign_in() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let login = server.post("/login", &json!({"token": server.token}));
    let login = login.without_token().await.expect(204);
    let cookie = login.header("set-cookie").split(';').next().unwrap();
    let key = login.header("agentd-key");
    let origin = format!("http://localhost:{}", server.address.port());
    let ask = |method: Method, path: &str| {
        let request = server.request(method, path).without_token();
        request.header("origin", &origin).header("cookie", cookie)
    };
    ask(Method::GET, "/agents")
        .await
        .problem(401, "unauthorized");
    ask(Method::GET, "/agents")
        .header("agentd-key", key)
        .await
        .expect(200);
    let made = ask(Method::POST, "/tickets")
        .header("agentd-key", key)
        .await
        .expect(201)
        .json();
    let ticket = made["ticket"].as_str().unwrap();
    let path = format!("{}/terminal?ticket={ticket}", agent.path);
    let mut terminal = server
        .terminal(&path, &[("origin", &origin)])
        .await
        .unwrap();
    terminal.type_keys("from the page\r").await;
    terminal.shows("from the page").await;
}

/// Attack: events go on after the browser has signed out. Then: they end.
#[tokio::test]
async fn a_browser_hears_no_events_after_it_has_signed_out() {
    let server = orchestrator("pty");
    let login = server.post("/login", &json!({"token": server.token}));
    let login = login.without_token().await.expect(204);
    let cookie = login.header("set-cookie").split(';').next().unwrap();
    let ask = |method: Method, path: &str| {
        let request = server.request(method, path).without_token();
        request
            .header("cookie", cookie)
            .header("agentd-key", login.header("agentd-key"))
    };
    let events = ask(Method::GET, "/events").stream().await;
    assert_eq!(events.status(), 200);
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    ask(Method::POST, "/logout").await.expect(204);
    events.bytes().await.unwrap();
}
