use serde_json::json;

use crate::wrap;

#[tokio::test]
async fn info_says_what_the_backend_is_to_everybody() {
    let server = wrap("pty");
    let info = server.get("/info").without_token().await.expect(200);
    assert_eq!(
        info.body,
        r#"{"backend_type":"pty","version":"0.1.0","capabilities":["terminal","interactive"]}"#
    );
    assert_eq!(info.header("content-type"), "application/json");
}

#[tokio::test]
async fn any_library_of_that_name_is_a_backend() {
    let server = wrap("fixture");
    let info = server.get("/info").await.expect(200).json();
    let expected = json!({
        "backend_type": "fixture", "version": "7.8.9", "capabilities": ["health-check", "logs"],
    });
    assert_eq!(info, expected);
}

#[tokio::test]
async fn health_says_which_service_this_is_to_everybody() {
    let server = wrap("echo");
    let health = server.get("/health").without_token().await.expect(200);
    let expected = json!({"status": "ok", "service": "agentd-wrap", "version": "0.1.0"});
    assert_eq!(health.json(), expected);
}

#[tokio::test]
async fn details_of_the_backend_need_the_token() {
    let server = wrap("fixture");
    let backend = server.get("/backend").await.expect(200).json();
    assert_eq!(backend["name"], "fixture");
    assert_eq!(backend["persistent"], false);
    assert_eq!(backend["options_schema"]["type"], "object");
    let library = backend["library"].as_str().unwrap();
    assert!(
        library.ends_with("/libagentd_backend_fixture.so"),
        "{library}"
    );
    let closed = server.get("/backend").without_token().await;
    closed.problem(401, "unauthorized");
}

#[tokio::test]
async fn the_loaded_backends_are_listed() {
    let server = wrap("fixture");
    let page = server.get("/backends").await.expect(200).json();
    let item = &page["items"][0];
    let expected = json!({
        "backend_type": "fixture", "version": "7.8.9", "capabilities": ["health-check", "logs"],
        "default": true, "state": "ready", "options_schema": item["options_schema"],
    });
    assert_eq!((item, &page["total"]), (&expected, &json!(1)));
    assert_eq!(item["options_schema"]["type"], "object");
    let closed = server.get("/backends").without_token().await;
    closed.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_session_says_what_its_backend_can_do() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let shown = server.get(&session.path).await.expect(200).json();
    let capabilities = json!(["terminal", "interactive"]);
    assert_eq!(shown["capabilities"], capabilities, "{shown}");
}

#[tokio::test]
async fn a_service_says_to_everybody_that_it_lives_and_is_ready() {
    let server = wrap("echo");
    for path in ["/livez", "/readyz"] {
        let answer = server.get(path).without_token().await.expect(200);
        assert_eq!(answer.json(), json!({"status": "ok"}));
    }
}
