use agentd_api::{Agent, AgentStatus, Page};
use agentd_host::testing::{TestClient, TestSession, eventually};
use serde_json::{Value, json};
use warp::http::Method;

use crate::orchestrator;

async fn shown(client: &TestClient, agent: &TestSession) -> Agent {
    client.get(&agent.path).await.expect(200).parse()
}

async fn until(client: &TestClient, agent: &TestSession, status: AgentStatus) -> Agent {
    eventually(status.as_str(), async || {
        Some(shown(client, agent).await).filter(|agent| agent.status == status)
    })
    .await
}

async fn ask(client: &TestClient, agent: &TestSession, what: &str) -> agentd_host::testing::Answer {
    client
        .request(Method::POST, &format!("{}/{what}", agent.path))
        .await
}

#[tokio::test]
async fn an_agent_is_created_listed_stopped_and_deleted() {
    let server = orchestrator("pty");
    let body = server.new_session("demo", &["cat"]);
    let created = server.create(&body).await.expect(201).json();
    let id = created["id"].as_str().unwrap();
    assert_eq!(created["name"], "demo");
    assert_eq!(created["status"], "running");
    assert_eq!(created["restarts"], 0);
    assert_eq!(created["session"]["name"], "demo");
    assert_eq!(created["session"]["state"], "running");
    let path = format!("/agents/{id}");
    assert_eq!(server.get(&path).await.expect(200).json(), created);
    let list = server.get("/agents").await.expect(200).json();
    assert_eq!(list, json!({"items": [created], "total": 1}));
    server.delete(&path).await.expect(204);
    server.get(&path).await.problem(404, "not-found");
    server.delete(&path).await.problem(404, "not-found");
    server.create(&body).await.expect(201);
}

#[tokio::test]
async fn agents_are_asked_for_by_id_alone() {
    let server = orchestrator("pty");
    server.start("demo", &["cat"]).await;
    server.get("/agents/demo").await.problem(404, "not-found");
    for what in ["terminal", "logs"] {
        let answer = server.get(&format!("/agents/demo/{what}")).upgrade().await;
        answer.problem(404, "not-found");
    }
    let input = server
        .post("/agents/demo/input", &json!({"text": "x"}))
        .await;
    input.problem(404, "not-found");
}

#[tokio::test]
async fn the_status_says_how_it_ended() {
    let server = orchestrator("pty");
    let well = server.script("well", "exit 0").await;
    until(&server, &well, AgentStatus::Stopped).await;
    let badly = server.script("badly", "exit 7").await;
    let agent = until(&server, &badly, AgentStatus::Failed).await;
    let session = agent.session.unwrap();
    assert_eq!(session.exit.unwrap().code, Some(7));
    let killed = server.script("killed", "kill -9 $$").await;
    let agent = until(&server, &killed, AgentStatus::Failed).await;
    assert_eq!(agent.session.unwrap().exit.unwrap().signal, Some(9));
}

#[tokio::test]
async fn an_agent_that_is_gone_without_an_exit_is_lost() {
    let server = orchestrator("fixture");
    let lost = server.start("demo", &["lose"]).await;
    let agent = until(&server, &lost, AgentStatus::Lost).await;
    assert!(agent.session.unwrap().exit.unwrap().reason.is_some());
}

#[tokio::test]
async fn while_the_backend_is_out_of_reach_the_status_stays() {
    let server = orchestrator("fixture");
    let unknown = server.start("demo", &["forget"]).await;
    let agent = shown(&server, &unknown).await;
    assert_eq!(agent.status, AgentStatus::Running);
    let session = serde_json::to_value(agent.session.unwrap()).unwrap();
    assert_eq!(session["state"], "unknown");
}

#[tokio::test]
async fn a_requested_stop_is_not_a_failure() {
    let server = orchestrator("pty");
    let agent = server
        .script("demo", "trap 'exit 9' HUP; while :; do sleep 0.05; done")
        .await;
    let stopped: Agent = ask(&server, &agent, "stop").await.expect(200).parse();
    assert_eq!(stopped.status, AgentStatus::Stopped);
    assert_eq!(stopped.session.unwrap().exit.unwrap().code, Some(9));
    // Stopping twice is not an error.
    let again: Agent = ask(&server, &agent, "stop").await.expect(200).parse();
    assert_eq!(again.status, AgentStatus::Stopped);
}

#[tokio::test]
async fn a_restart_runs_the_same_again() {
    let server = orchestrator("pty");
    let mut body = server.new_session("demo", &["sh", "-c", "echo hello $OWN; cat"]);
    body["env"] = json!({"OWN": "secret"});
    let agent = server.start_with(&body).await;
    agent.terminal("").await.shows("hello secret").await;
    let before = shown(&server, &agent).await;
    let mut old_terminal = agent.terminal("").await;
    old_terminal.hello().await;
    let after: Agent = ask(&server, &agent, "restart").await.expect(200).parse();
    assert_eq!(old_terminal.closed().await, 4004);
    assert_eq!((after.id, after.restarts), (before.id, 1));
    assert_ne!(after.session.unwrap().pid, before.session.unwrap().pid);
    agent.terminal("").await.shows("hello secret").await;
}

#[tokio::test]
async fn an_agent_that_ended_is_started_again() {
    let server = orchestrator("pty");
    let agent = server.script("demo", "read line; exit 3").await;
    agent.prompt("").await.expect(202);
    until(&server, &agent, AgentStatus::Failed).await;
    ask(&server, &agent, "restart").await.expect(200);
    let running = shown(&server, &agent).await;
    assert_eq!(
        (running.status, running.restarts),
        (AgentStatus::Running, 1)
    );
    let [ended] = &running.history[..] else {
        panic!("{:?}", running.history);
    };
    assert_eq!(ended.exit.as_ref().unwrap().code, Some(3));
    assert!(ended.started_at < ended.ended_at);
}

#[tokio::test]
async fn a_restart_that_fails_leaves_a_failed_agent() {
    let server = orchestrator("pty");
    let program = server.work_dir().join("program");
    std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
    let agent = server.start("demo", &["./program"]).await;
    std::fs::remove_file(&program).unwrap();
    let answer = ask(&server, &agent, "restart").await;
    answer.problem(422, "refused");
    let failed = shown(&server, &agent).await;
    assert_eq!((failed.status, failed.restarts), (AgentStatus::Failed, 0));
    assert_eq!(failed.session, None);
    let terminal = server
        .get(&format!("{}/terminal", agent.path))
        .upgrade()
        .await;
    terminal.problem(409, "no-session");
    std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
    ask(&server, &agent, "restart").await.expect(200);
    server.delete(&agent.path).await.expect(204);
}

#[tokio::test]
async fn names_are_unique_and_refusals_leave_nothing() {
    let server = orchestrator("pty");
    server.start("demo", &["cat"]).await;
    let taken = server.create(&server.new_session("demo", &["cat"])).await;
    taken.problem(409, "name-taken");
    for (name, command, status, code) in [
        ("a/b", "cat", 400, "invalid-name"),
        ("wrong", "no-such-program", 422, "refused"),
    ] {
        let answer = server.create(&server.new_session(name, &[command])).await;
        answer.problem(status, code);
    }
    assert_eq!(server.get("/agents").await.json()["total"], 1);
    server.start("wrong", &["cat"]).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_start_leaves_nothing() {
    let server = orchestrator("fixture");
    let body = server.new_session("demo", &["hang"]);
    let request = tokio::spawn({
        let client = (*server).clone();
        async move { client.create(&body).await }
    });
    let pending = async || server.get("/agents?status=pending").await.json()["total"].clone();
    eventually("the start", async || (pending().await == 1).then_some(())).await;
    request.abort();
    eventually("nothing of it", async || {
        (pending().await == 0).then_some(())
    })
    .await;
    server.start("demo", &["run"]).await;
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let server = orchestrator("fixture");
    for number in 0..60 {
        let command = if number % 3 == 0 { "end" } else { "run" };
        server.start(&format!("a{number:02}"), &[command]).await;
    }
    let list = async |query: &str| {
        let page = server
            .get(&format!("/agents{query}"))
            .await
            .expect(200)
            .json();
        let items = page["items"].as_array().unwrap();
        let names: Vec<String> = items
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect();
        (page["total"].as_u64().unwrap(), names)
    };
    let (total, names) = list("").await;
    assert_eq!((total, names.len(), names[0].as_str()), (60, 50, "a00"));
    let (total, names) = list("?limit=200&offset=55").await;
    assert_eq!((total, names.len(), names[0].as_str()), (60, 5, "a55"));
    assert_eq!(
        list("?limit=2&offset=1").await,
        (60, vec!["a01".into(), "a02".into()])
    );
    assert_eq!(list("?offset=1000").await, (60, vec![]));
    assert_eq!(
        list("?status=failed&limit=1").await,
        (20, vec!["a00".into()])
    );
    assert_eq!(list("?status=running").await.0, 40);
    assert_eq!(list("?name=a07").await, (1, vec!["a07".into()]));
    assert_eq!(list("?name=a0").await, (0, vec![]));
    assert_eq!(list("?name=a07&status=failed").await, (0, vec![]));
    for query in [
        "?limit=0",
        "?limit=201",
        "?limit=-1",
        "?offset=x",
        "?status=asleep",
        "?sort=age",
        "?order=up",
        "?cursor=",
        "?cursor=name.asc.a07",
        "?cursor=created.asc.x",
        "?sort=status&cursor=status.asc.failed",
        "?cursor=created.asc.1&offset=0",
    ] {
        let answer = server.get(&format!("/agents{query}")).await;
        answer.problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_list_that_changes_is_read_page_by_page() {
    let server = orchestrator("fixture");
    let mut agents = Vec::new();
    for number in 0..6 {
        agents.push(server.start(&format!("a{number}"), &["run"]).await);
    }
    let page = async |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}"));
        let path = format!(
            "/agents?sort=name&order=desc&limit=2{}",
            cursor.unwrap_or_default()
        );
        let page: Page<Agent> = server.get(&path).await.expect(200).parse();
        let names: Vec<String> = page.items.into_iter().map(|agent| agent.name).collect();
        (names, page.next_cursor)
    };
    let (names, cursor) = page(None).await;
    assert_eq!(names, ["a5", "a4"]);
    // With an offset, `a3` would be on no page then.
    server.delete(&agents[4].path).await.expect(204);
    let (names, cursor) = page(cursor.as_deref()).await;
    assert_eq!(names, ["a3", "a2"]);
    let (names, cursor) = page(cursor.as_deref()).await;
    assert_eq!(
        (names, cursor),
        (vec!["a1".to_owned(), "a0".to_owned()], None)
    );
}

#[tokio::test]
async fn health_counts_the_agents_that_are_active() {
    let server = orchestrator("fixture");
    let active = async || -> Value {
        let health = server
            .get("/health")
            .without_token()
            .await
            .expect(200)
            .json();
        assert_eq!(health["service"], "agentd-orchestrator");
        health["agents_active"].clone()
    };
    assert_eq!(active().await, 0);
    let agent = server.start("a", &["run"]).await;
    server.start("b", &["end"]).await;
    assert_eq!(active().await, 1);
    ask(&server, &agent, "stop").await.expect(200);
    assert_eq!(active().await, 0);
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let server = orchestrator("pty");
    let mut body = server.new_session("demo", &["cat"]);
    body["env"] = json!({"KEY": "sk-secret"});
    let created = server.create(&body).await.expect(201);
    assert_eq!(created.json()["session"]["env"], json!({"KEY": "***"}));
    let list = server.get("/agents").await;
    assert!(!created.body.contains("sk-secret") && !list.body.contains("sk-secret"));
}

#[tokio::test]
async fn a_backend_that_panics_is_an_error_and_leaves_nothing() {
    let server = orchestrator("fixture");
    let answer = server.create(&server.new_session("demo", &["panic"])).await;
    answer.problem(500, "backend-panicked");
    assert_eq!(server.get("/agents").await.json()["total"], 0);
    server.start("demo", &["run"]).await;
}
