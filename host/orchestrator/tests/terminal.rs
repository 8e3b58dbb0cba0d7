use agentd_api::Exit;

use crate::orchestrator;

#[tokio::test]
async fn a_viewer_watches_types_and_leaves() {
    let server = orchestrator("pty");
    let agent = server
        .script("demo", "read line; echo got $line; exit 7")
        .await;
    let mut terminal = agent.terminal("").await;
    assert_eq!(terminal.hello().await.session, "demo");
    terminal.resize(100, 30).await;
    terminal.type_keys("this\r").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(7), None));
    assert!(terminal.text().contains("got this"), "{terminal:?}");
    let exit = Exit {
        code: Some(7),
        ..Exit::default()
    };
    assert_eq!(agent.ended().await, exit);
    assert_eq!(agent.logs("").await, ["this", "got this"]);
    assert_eq!(agent.show().await.size.cols, 100);
}

#[tokio::test]
async fn a_deleted_agent_closes_its_terminals() {
    let server = orchestrator("pty");
    let agent = server.start("demo", &["cat"]).await;
    let mut terminal = agent.terminal("?mode=ro").await;
    terminal.hello().await;
    agent.delete().await;
    assert_eq!(terminal.closed().await, 4004);
}

#[tokio::test]
async fn a_backend_without_a_terminal_refuses_it() {
    let server = orchestrator("fixture");
    let agent = server.start("demo", &["run"]).await;
    let answer = server
        .get(&format!("{}/terminal", agent.path))
        .upgrade()
        .await;
    answer.problem(409, "no-terminal");
    agent.prompt("hello").await.problem(409, "no-input");
    assert_eq!(agent.logs("?tail=1").await, ["line 5"]);
}
