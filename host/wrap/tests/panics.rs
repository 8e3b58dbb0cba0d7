use crate::wrap;

/// Fault: a library panics in a start. Then: 500 with its words; others are served.
#[tokio::test]
async fn a_backend_that_panics_is_an_error_and_the_service_goes_on() {
    let server = wrap("fixture");
    let bystander = server.start("bystander", &["run"]).await;
    let body = server.new_session("demo", &["panic"]);
    let problem = server.create(&body).await.problem(500, "backend-panicked");
    assert!(problem.detail.contains("the fixture panics"), "{problem:?}");
    server.get("/sessions/demo").await.problem(404, "not-found");
    bystander.show().await;
    server.start("demo", &["run"]).await;
}

/// Fault: a library panics while it ends a session. Then: 500, and the session is still listed.
#[tokio::test]
async fn a_session_whose_end_panics_is_still_there() {
    let server = wrap("fixture");
    let session = server.start("demo", &["panic-at-the-end"]).await;
    let answer = server.delete(&session.path).await;
    answer.problem(500, "backend-panicked");
    session.show().await;
    server.get("/health").await.expect(200);
}
