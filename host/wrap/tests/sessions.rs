use std::fs;
use std::os::unix::fs::PermissionsExt;

use agentd_api::{Health, Size, State};
use agentd_host::testing::{TestBackend, TestClient, TestSession, eventually, leave_out};
use serde_json::{Value, json};

use crate::{program, wrap};

#[tokio::test]
async fn a_session_is_created_listed_ended_and_deleted() {
    let server = wrap("pty");
    let mut body = server.new_session("demo", &["sh", "-c", "read line; exit 7"]);
    body["size"] = json!({"cols": 100, "rows": 30});
    // Of what it does something else may be seen at each look.
    let without_activity = |mut session: Value| {
        let activity = session.as_object_mut().unwrap().remove("activity");
        assert!(activity.is_some());
        session
    };
    let created = without_activity(server.create(&body).await.expect(201).json());
    let pid = created["pid"].as_u64().unwrap();
    let expected = json!({
        "name": "demo",
        "backend_type": "pty",
        "capabilities": ["terminal", "interactive"],
        "state": "running",
        "health": "unknown",
        "exit": null,
        "pid": pid,
        "working_dir": server.work_dir(),
        "command": ["sh", "-c", "read line; exit 7"],
        "size": {"cols": 100, "rows": 30},
        "viewers": 0,
        "created_at": created["created_at"],
    });
    assert_eq!(created, expected);
    let shown = server.get("/sessions/demo").await.expect(200).json();
    assert_eq!(without_activity(shown), created);
    let mut list = server.get("/sessions").await.expect(200).json();
    list["items"][0] = without_activity(list["items"][0].take());
    assert_eq!(list, json!({"items": [created], "total": 1}));

    let answer = server
        .post("/sessions/demo/input", &json!({"text": "go"}))
        .await;
    answer.expect(202);
    let ended = eventually("the exit", async || {
        let shown = server.get("/sessions/demo").await.expect(200).json();
        Some(shown).filter(|shown| shown["state"] == "exited")
    })
    .await;
    assert_eq!(ended["exit"], json!({"code": 7}));
    assert_eq!(ended.get("pid"), None);
    assert_eq!(server.get("/sessions").await.json()["total"], 1);

    let deleted = server.delete("/sessions/demo").await.expect(204);
    assert_eq!(deleted.body, "");
    server.get("/sessions/demo").await.problem(404, "not-found");
    server
        .delete("/sessions/demo")
        .await
        .problem(404, "not-found");
    let list = server.get("/sessions").await.json();
    assert_eq!(list, json!({"items": [], "total": 0}));
    server.create(&body).await.expect(201);
}

#[tokio::test]
async fn a_session_is_80_by_24_by_default() {
    let server = wrap("pty");
    let default = server.script("default", "stty size").await;
    default.ended().await;
    assert_eq!(default.logs("").await, ["24 80"]);
    assert_eq!(default.show().await.size, Size { cols: 80, rows: 24 });
    let mut body = server.new_session("wide", &["stty", "size"]);
    body["size"] = json!({"cols": 1000, "rows": 1});
    let wide = server.start_with(&body).await;
    wide.ended().await;
    assert_eq!(wide.logs("").await, ["1 1000"]);
}

#[tokio::test]
async fn the_working_directory_is_used() {
    let server = wrap("pty");
    let session = server.script("demo", "pwd; echo $PWD").await;
    session.ended().await;
    let directory = server.work_dir().to_str().unwrap();
    assert_eq!(session.logs("").await, [directory, directory]);
}

/// Attack: arguments that a shell would obey. Then: they arrive as they are.
#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let server = wrap("pty");
    let odd = "a  b'\"$HOME`id`; echo *\\";
    let session = server.start("demo", &["printf", "%s|", odd, "", "ä"]).await;
    session.ended().await;
    assert_eq!(session.logs("").await, [format!("{odd}||ä|")]);
}

#[tokio::test]
async fn without_a_command_it_is_a_shell() {
    let server = wrap("pty");
    // A home without the start-up files of whoever runs the test.
    let (directory, env) = (server.work_dir(), json!({"HOME": server.work_dir()}));
    let body = json!({"name": "demo", "working_dir": directory, "env": env});
    let session = server.start_with(&body).await;
    let shell = std::env::var("SHELL").unwrap_or("/bin/bash".to_owned());
    assert_eq!(session.show().await.command, [shell]);
    let mut terminal = session.terminal("").await;
    terminal.type_keys("echo $((6 * 7)); exit 3\r").await;
    terminal.shows("42").await;
    assert_eq!(session.ended().await.code, Some(3));
}

#[tokio::test]
async fn many_sessions_are_listed_by_name() {
    let server = wrap("pty");
    for name in ["b", "c", "a"] {
        server.start(name, &["cat"]).await;
    }
    let list = server.get("/sessions").await.expect(200).json();
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["name"])
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(list["total"], 3);
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let server = wrap("fixture");
    let create = async |command: &str| server.create(&server.new_session("demo", &[command])).await;
    let problem = create("refuse").await.problem(422, "refused");
    assert_eq!(
        (problem.detail.as_str(), problem.hint.as_deref()),
        ("the fixture refuses", Some("ask another"))
    );
    create("unavailable")
        .await
        .problem(503, "backend-unavailable");
    assert_eq!(server.get("/sessions").await.json()["total"], 0);
    create("run").await.expect(201);
}

#[tokio::test]
async fn a_client_that_leaves_during_a_start_leaves_nothing() {
    let server = wrap("fixture");
    let body = server.new_session("demo", &["hang"]);
    let request = tokio::spawn({
        let (client, body) = ((*server).clone(), body.clone());
        async move { client.create(&body).await }
    });
    let session = async || server.get("/sessions/demo").await;
    eventually("the start", async || {
        (session().await.status == 200).then_some(())
    })
    .await;
    assert_eq!(session().await.json()["state"], "starting");
    request.abort();
    eventually("nothing of it", async || {
        (session().await.status == 404).then_some(())
    })
    .await;
    server.start("demo", &["run"]).await;
}

#[tokio::test]
async fn what_the_backend_reports_is_shown() {
    let server = wrap("fixture");
    let shown = async |name: &str| server.start(name, &[name]).await.show().await;
    let lost = shown("lose").await;
    assert_eq!(lost.state, State::Exited);
    assert_eq!(
        lost.exit.unwrap().reason.as_deref(),
        Some("the fixture lost it")
    );
    let ended = shown("end").await;
    assert_eq!(
        (ended.state, ended.exit.unwrap().code),
        (State::Exited, Some(3))
    );
    let unknown = shown("forget").await;
    assert_eq!(unknown.state, State::Unknown);
    assert_eq!(
        unknown.progress.as_deref(),
        Some("the fixture cannot see it")
    );
}

#[tokio::test]
async fn input_is_typed_with_enter_or_without() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    let input = async |body: Value| server.post("/sessions/demo/input", &body).await.expect(202);
    input(json!({"text": "half ", "submit": false})).await;
    input(json!({"text": "a line"})).await;
    terminal.shows("half a line\r\nhalf a line\r\n").await;
}

/// By themselves: without the marks of a paste, and arrows in the form that the program wants.
#[tokio::test]
async fn keys_are_pressed() {
    let server = wrap("pty");
    let raw = r"stty raw -echo; printf '\033[?2004hready'; exec cat -v";
    let application = format!("printf '\\033[?1h'; {raw}");
    let press = async |name: &str, keys: Value| {
        let path = format!("/sessions/{name}/keys");
        server.post(&path, &json!({ "keys": keys })).await
    };
    for (name, script, shown) in [
        ("plain", raw, "^[[A^[[Dy^[[Z^[^?M-CM-<"),
        ("other", &application, "^[OA^[ODy^[[Z^[^?M-CM-<"),
    ] {
        let session = server.start(name, &["sh", "-c", script]).await;
        let mut terminal = session.terminal("").await;
        terminal.hello().await;
        terminal.shows("ready").await;
        let keys = json!(["up", "left", "y", "shift-tab", "escape", "backspace", "ü"]);
        press(name, keys).await.expect(202);
        terminal.shows(shown).await;
    }
    press("plain", json!([])).await.problem(400, "invalid-keys");
    let many = vec!["up"; 65];
    press("plain", json!(many))
        .await
        .problem(400, "invalid-keys");
    let wrong = press("plain", json!(["yes"])).await;
    assert!(wrong.body.contains("`yes` is not a key"), "{}", wrong.body);
    press("nobody", json!(["up"]))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn keys_to_a_backend_that_takes_none_are_refused() {
    let server = wrap("fixture");
    server.start("demo", &["run"]).await;
    for key in ["enter", "y", "up"] {
        let keys = json!({ "keys": [key] });
        let answer = server.post("/sessions/demo/keys", &keys).await;
        answer.problem(409, "no-input");
    }
}

/// Attack: a prompt with the end of a paste in it. Then: it is removed, and the rest is pasted.
#[tokio::test]
async fn input_cannot_break_out_of_a_paste() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat", "-v"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    let evil = "a\u{1b}[201~b\u{1b}[20\u{1b}[201~1~c";
    session.prompt(evil).await.expect(202);
    terminal.shows("\nabc\r\n").await;
}

#[tokio::test]
async fn input_to_a_backend_that_takes_none_is_refused() {
    let server = wrap("fixture");
    let session = server.start("demo", &["run"]).await;
    session.prompt("hello").await.problem(409, "no-input");
    let nobody = server
        .post("/sessions/nobody/input", &json!({"text": "hello"}))
        .await;
    nobody.problem(404, "not-found");
}

#[tokio::test]
async fn a_session_is_not_created_with_a_prompt() {
    let server = wrap("pty");
    let mut body = server.new_session("demo", &["cat"]);
    body["prompt"] = json!("hello");
    server.create(&body).await.problem(400, "invalid-prompt");
}

#[tokio::test]
async fn a_verdict_during_the_start_does_not_hold_it_up() {
    let server = wrap("fixture");
    let session = server.start("demo", &["unhealthy"]).await.show().await;
    assert_eq!(session.health, Health::Unhealthy);
    assert_eq!(session.state, State::Running);
}

/// Starts the script under a name of which a rule knows the prompt.
async fn start_as_claude(server: &TestClient, script: &str) -> TestSession {
    let program = server.work_dir().join("claude");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    server.start("demo", &[program.to_str().unwrap()]).await
}

/// Drops all keys of its first second, as Claude Code does with Enter, and prints nothing meanwhile.
const DROPS_KEYS: &str = r#"#!/bin/sh
stty raw -echo
timeout --foreground 1 cat >/dev/null
stty sane -echo
printf '\342\235\257 \n? for shortcuts'
read line
printf '\nread: %s\n' "$line"
read line
printf 'then: %s\n' "$line"
sleep 100
"#;

#[tokio::test]
async fn a_prompt_right_after_the_start_waits_until_the_program_reads_it() {
    let server = wrap("pty");
    let session = start_as_claude(&server, DROPS_KEYS).await;
    session.prompt("hello").await.expect(202);
    session.prompt("again").await.expect(202);
    let mut terminal = session.terminal("").await;
    terminal.shows("read: hello").await;
    terminal.shows("then: again").await;
}

/// tmux has its screen, and its library says what is on it.
#[tokio::test]
async fn a_prompt_right_after_the_start_waits_until_the_program_reads_it_on_tmux() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let daemon = backend.configure(program()).start();
    let session = start_as_claude(&daemon, DROPS_KEYS).await;
    session.prompt("hello").await.expect(202);
    session.prompt("again").await.expect(202);
    eventually("both prompts", async || {
        let lines = session.logs("").await;
        let read = |line: &str| lines.iter().any(|other| other == line);
        (read("read: hello") && read("then: again")).then_some(())
    })
    .await;
}

/// Takes what it reads first as a paste, and an Enter in it as none of its own, as Claude Code does.
const DROPS_ENTER_OF_A_PASTE: &str = r#"#!/bin/sh
stty raw -echo
printf '\342\235\257 \r\n? for shortcuts\r\n'
sleep 0.3
dd bs=4096 count=1 2>/dev/null | tr -d '\r'
dd bs=1 count=1 2>/dev/null | od -An -c
sleep 100
"#;

#[tokio::test]
async fn enter_comes_after_the_first_prompt_is_shown() {
    let server = wrap("pty");
    let session = start_as_claude(&server, DROPS_ENTER_OF_A_PASTE).await;
    session.prompt("hello").await.expect(202);
    let mut terminal = session.terminal("").await;
    terminal.shows("\\r").await;
}
