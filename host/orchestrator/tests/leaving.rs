//! Requests whose clients leave halfway, and requests at the moment of an agent's end.

use std::fs;

use agentd_api::Session;
use agentd_host::testing::{
    Answer, RunningProgram, TestBackend, TestClient, eventually, leave_out,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use warp::http::Method;

use crate::orchestrator;
use crate::program::program;

/// Two of them are more than a terminal and all that is queued for it take while nobody reads.
const LONG: usize = 900_000;

#[tokio::test]
async fn a_prompt_whose_client_leaves_halfway_is_typed_to_its_end_or_not_at_all() {
    let server = orchestrator("pty");
    // Each prompt is a line, as Enter is a carriage return.
    let script = "stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.05; done; \
         exec perl -e '$/ = \"\\r\"; $| = 1; while (<STDIN>) { chomp; print \"got \", length, \"\\r\\n\" }'";
    let agent = server.script("demo", script).await;
    eventually("the terminal as it should be", async || {
        let lines = agent.logs("").await;
        lines.iter().any(|line| line == "ready").then_some(())
    })
    .await;
    let typed = |text: String| {
        let (client, path) = ((*server).clone(), format!("{}/input", agent.path));
        tokio::spawn(async move { client.post(&path, &json!({ "text": text })).await })
    };
    typed("x".repeat(LONG)).await.unwrap().expect(202);
    let halfway = typed("y".repeat(LONG));
    // Others are answered meanwhile, so that it has mostly begun; if not, it is not typed at all.
    for _ in 0..50 {
        server.get("/agents").await.expect(200);
    }
    assert!(!halfway.is_finished(), "all of it fits");
    halfway.abort();
    assert!(halfway.await.unwrap_err().is_cancelled());
    for _ in 0..50 {
        server.get("/agents").await.expect(200);
    }
    fs::write(server.work_dir().join("go"), "").unwrap();
    typed("the end".to_owned()).await.unwrap().expect(202);
    let got = eventually("the last prompt", async || {
        let lines = agent.logs("").await;
        let got = lines.iter().filter_map(|line| line.strip_prefix("got "));
        let got: Vec<usize> = got.filter_map(|length| length.parse().ok()).collect();
        (got.len() >= 2 && !got.ends_with(&[LONG])).then_some(got)
    })
    .await;
    let end = "the end".len();
    assert!(got == [LONG, LONG, end] || got == [LONG, end], "{got:?}");
}

/// What the backend `held` was called for, begun and done.
pub fn calls(server: &TestClient) -> Vec<String> {
    let calls = fs::read_to_string(server.work_dir().join("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

/// Waits until a call of the backend is held, which begins so.
pub async fn until_held(server: &TestClient, call: &str) {
    let begun = format!("begun {call}");
    eventually(&begun, async || {
        calls(server)
            .last()
            .filter(|last| last.starts_with(&begun))?;
        Some(())
    })
    .await;
}

/// Lets it go, and waits until it has been done with what comes after it.
pub async fn let_go(server: &TestClient, expected: &[&str]) {
    fs::remove_file(server.work_dir().join("held")).unwrap();
    eventually(&format!("{expected:?}"), async || {
        (calls(server) == expected).then_some(())
    })
    .await;
}

/// Sends a request, and waits for nothing.
pub async fn begin(server: &TestClient, path: &str, body: &Value) -> TcpStream {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        server.bearer(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Closes its connection, and waits until the service knows.
pub async fn leave(server: &TestClient, stream: TcpStream) {
    let client = stream.local_addr().unwrap();
    drop(stream);
    eventually("the service has noticed that the client left", async || {
        (!server.holds_connection(client)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_prompt_that_was_begun_is_typed_with_its_enter_when_the_client_has_left() {
    let typed = [
        "begun write \"x\"",
        "done write \"x\"",
        "begun write \"\\r\"",
        "done write \"\\r\"",
    ];
    // In the text, and between the text and Enter.
    for held in ["write \"x\"", "write \"\\r\""] {
        let server = orchestrator("held");
        let agent = server.start("demo", &["run"]).await;
        fs::write(server.work_dir().join("held"), held).unwrap();
        let stream = begin(
            &server,
            &format!("{}/input", agent.path),
            &json!({"text": "x"}),
        )
        .await;
        until_held(&server, held).await;
        leave(&server, stream).await;
        let_go(&server, &typed).await;
    }
}

/// Fault: the backend does not take what is typed, and the session ends. Then: whoever typed it learns that.
#[tokio::test]
async fn whoever_types_into_a_session_that_ends_is_answered_whatever_its_backend_does() {
    let server = orchestrator("held");
    let agent = server.start("demo", &["run"]).await;
    fs::write(server.work_dir().join("held"), "write").unwrap();
    let typing = agent.clone();
    let typed = tokio::spawn(async move { typing.prompt("x").await });
    until_held(&server, "write \"x\"").await;
    let stop = format!("{}/stop", agent.path);
    server.request(Method::POST, &stop).await.expect(200);
    typed.await.unwrap().problem(404, "gone");
}

#[tokio::test]
async fn a_resize_that_was_begun_is_done_when_the_viewer_has_left() {
    let server = orchestrator("held");
    let agent = server.start("demo", &["run"]).await;
    fs::write(server.work_dir().join("held"), "resize").unwrap();
    let mut terminal = agent.terminal("").await;
    terminal.hello().await;
    terminal.resize(100, 30).await;
    until_held(&server, "resize 100x30").await;
    drop(terminal);
    let gone = |session: &Session| session.viewers == 0;
    let shown = agent.until("the viewer is gone", gone).await;
    let_go(&server, &["begun resize 100x30", "done resize 100x30"]).await;
    assert_eq!((shown.size.cols, shown.size.rows), (100, 30));
}

#[tokio::test]
async fn requests_at_the_moment_of_an_end_are_answered_as_documented_on_pty() {
    at_the_moment_of_an_end(&TestBackend::pty(), 10).await;
}

#[tokio::test]
async fn requests_at_the_moment_of_an_end_are_answered_as_documented_on_tmux() {
    match TestBackend::tmux() {
        Ok(backend) => at_the_moment_of_an_end(&backend, 10).await,
        Err(missing) => leave_out(&missing),
    }
}

#[tokio::test]
async fn requests_at_the_moment_of_an_end_are_answered_as_documented_on_docker() {
    match TestBackend::docker() {
        Ok(backend) => at_the_moment_of_an_end(&backend, 3).await,
        Err(missing) => leave_out(&missing),
    }
}

/// Agents that end by themselves while they are typed to, stopped and deleted.
async fn at_the_moment_of_an_end(backend: &TestBackend, rounds: usize) {
    let daemon = backend.configure(program()).start();
    backend.give(daemon.work_dir());
    for round in 0..rounds {
        let agent = daemon.script("demo", "read -r line; exit 3").await;
        let input = format!("{}/input", agent.path);
        let typed = json!({"text": "x"});
        // The first is what ends it.
        let inputs = [(); 3].map(|()| post(&daemon, &input, &typed));
        let stop = post(&daemon, &format!("{}/stop", agent.path), &json!({}));
        // Not always the last to arrive.
        if round % 2 == 0 {
            for input in inputs {
                let gone = [(202, ""), (404, "gone"), (404, "not-found")];
                is_one_of(&input.await.unwrap(), &gone);
            }
            is_one_of(&stop.await.unwrap(), &[(200, "")]);
            daemon.delete(&agent.path).await.expect(204);
        } else {
            let deleted = daemon.delete(&agent.path).await;
            is_one_of(&deleted, &[(204, "")]);
            for input in inputs {
                let gone = [(202, ""), (404, "gone"), (404, "not-found")];
                is_one_of(&input.await.unwrap(), &gone);
            }
            is_one_of(&stop.await.unwrap(), &[(200, ""), (404, "not-found")]);
        }
        daemon.get(&agent.path).await.problem(404, "not-found");
    }
}

/// Begins a request.
fn post(daemon: &RunningProgram, path: &str, body: &Value) -> JoinHandle<Answer> {
    let (client, path, body) = ((**daemon).clone(), path.to_owned(), body.clone());
    tokio::spawn(async move { client.post(&path, &body).await })
}

/// Fails unless the answer has one of these statuses with its code.
fn is_one_of(answer: &Answer, expected: &[(u16, &str)]) {
    let code = match answer.status {
        400.. => answer.json()["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        _ => String::new(),
    };
    let found = (answer.status, code.as_str());
    assert!(expected.contains(&found), "{found:?}: {}", answer.body);
}
