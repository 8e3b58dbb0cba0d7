//! Each row is refused with a clear error, and the session beside it goes on.

use agentd_host::testing::{TestClient, TestSession};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use warp::http::Method;

use crate::wrap;

async fn bystander(client: &TestClient) -> TestSession {
    client.start("bystander", &["cat"]).await
}

/// It still answers, and nothing else is there.
async fn unharmed(client: &TestClient, bystander: &TestSession) {
    let mut terminal = bystander.terminal("").await;
    terminal.type_keys("still here\r").await;
    terminal.shows("still here\r\nstill here").await;
    let list = client.get("/sessions").await.expect(200).json();
    assert_eq!(list["total"], 1, "{list}");
}

/// Asks for a session that has these fields instead of the right ones.
async fn refused(fields: Value, status: u16, code: &str) -> agentd_api::Problem {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let mut body = server.new_session("wrong", &["true"]);
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let problem = server.create(&body).await.problem(status, code);
    unharmed(&server, &bystander).await;
    problem
}

/// Attack: names with slashes, dots, blanks, zero bytes, a leading dash, 300 letters. Then: 400.
#[tokio::test]
async fn names_that_some_backend_could_not_use() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let too_long = "a".repeat(300);
    for name in [
        "", "a/b", "a\0b", "../x", "-a", "a.b", "a b", "ä", &too_long,
    ] {
        let body = server.new_session(name, &["true"]);
        let problem = server.create(&body).await.problem(400, "invalid-name");
        assert!(problem.hint.unwrap().contains("1 to 63"));
    }
    unharmed(&server, &bystander).await;
}

/// Attack: encoded slashes, zero bytes and parent directories where a name belongs. Then: 404.
#[tokio::test]
async fn names_in_paths_are_not_file_paths() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let too_long = "a".repeat(300);
    for name in ["nobody", "a%2Fb", "a%00b", "%2e%2e%2fx", "%FF", &too_long] {
        let path = format!("/sessions/{name}");
        server.get(&path).await.problem(404, "not-found");
        server.delete(&path).await.problem(404, "not-found");
        let terminal = server.get(&format!("{path}/terminal")).upgrade().await;
        terminal.problem(404, "not-found");
    }
    unharmed(&server, &bystander).await;
}

#[tokio::test]
async fn a_working_directory_that_is_missing() {
    let missing = json!({"working_dir": "/no/such/directory"});
    let problem = refused(missing, 400, "invalid-working-dir").await;
    assert!(
        problem
            .detail
            .contains("`/no/such/directory` does not exist")
    );
    assert!(problem.hint.is_some());
}

#[tokio::test]
async fn a_working_directory_that_is_a_file() {
    refused(
        json!({"working_dir": "/bin/sh"}),
        400,
        "invalid-working-dir",
    )
    .await;
    refused(json!({"working_dir": "."}), 400, "invalid-working-dir").await;
    refused(json!({"working_dir": ""}), 400, "invalid-working-dir").await;
    refused(json!({"working_dir": "/tmp\0"}), 400, "invalid-working-dir").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let command = json!({"command": ["no-such-program", "--flag"]});
    let problem = refused(command, 422, "refused").await;
    assert_eq!(problem.detail, "program `no-such-program` was not found");
    assert!(problem.hint.unwrap().contains("PATH"));
}

#[tokio::test]
async fn a_file_that_cannot_be_executed_is_named() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    std::fs::write(server.work_dir().join("notes"), "no program").unwrap();
    for program in ["./notes", "/", "./missing/program"] {
        let body = server.new_session("wrong", &[program]);
        let problem = server.create(&body).await.problem(422, "refused");
        assert!(
            problem.detail.contains(&format!("`{program}`")),
            "{problem:?}"
        );
        assert!(!problem.detail.contains("sh:"), "{problem:?}");
    }
    unharmed(&server, &bystander).await;
}

#[tokio::test]
async fn an_agent_whose_program_is_not_there_is_refused_alike() {
    let server = wrap("pty");
    let mut body = server.new_session("wrong", &[]);
    body["command"] = Value::Null;
    body["agent"] = json!("crush");
    body["env"] = json!({"PATH": "/nowhere"});
    let problem = server.create(&body).await.problem(422, "refused");
    assert_eq!(problem.detail, "program `crush` was not found");
}

#[tokio::test]
async fn an_unknown_kind_of_agent() {
    let unknown = json!({"command": null, "agent": "hal"});
    let problem = refused(unknown, 400, "unknown-agent").await;
    assert!(problem.hint.unwrap().contains("claude-code"));
}

#[tokio::test]
async fn a_command_without_a_program() {
    for command in [json!([]), json!([""]), json!(["echo", "a\0b"])] {
        refused(json!({"command": command}), 400, "invalid-command").await;
    }
}

#[tokio::test]
async fn invalid_variables() {
    for env in [json!({"A=B": "c"}), json!({"": "c"}), json!({"A": "b\0c"})] {
        let problem = refused(json!({"env": env}), 400, "invalid-env").await;
        assert!(!problem.detail.contains("b\0c"));
    }
}

#[tokio::test]
async fn labels_that_only_agents_have() {
    refused(json!({"labels": {"team": "a"}}), 400, "invalid-labels").await;
}

#[tokio::test]
async fn options_that_the_backend_does_not_know() {
    let problem = refused(json!({"options": {"image": "x"}}), 422, "refused").await;
    assert_eq!(problem.detail, "unknown option `image`");
}

#[tokio::test]
async fn a_size_that_no_terminal_has() {
    for (cols, rows) in [(0, 0), (0, 24), (80, 0), (1001, 24), (10000, 10000)] {
        let size = json!({"size": {"cols": cols, "rows": rows}});
        refused(size, 400, "invalid-size").await;
    }
}

#[tokio::test]
async fn a_name_that_is_taken() {
    let problem = refused(json!({"name": "bystander"}), 409, "name-taken").await;
    assert_eq!(problem.detail, "the name `bystander` is taken");
    assert!(problem.hint.is_some());
}

#[tokio::test]
async fn of_many_who_want_a_name_one_gets_it() {
    let server = wrap("pty");
    let body = server.new_session("wanted", &["cat"]);
    let answers = join_all((0..20).map(|_| server.create(&body))).await;
    let mut created = 0;
    for answer in answers {
        match answer.status {
            201 => created += 1,
            _ => drop(answer.problem(409, "name-taken")),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn invalid_bodies() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let json = "application/json";
    let post = || server.request(Method::POST, "/sessions");
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        r#"{"name":7,"working_dir":"/"}"#,
    ] {
        let answer = post().header("content-type", json).body(body).await;
        answer.problem(400, "invalid-body");
    }
    let unknown = server.post(
        "/sessions",
        &json!({"name": "a", "working_dir": "/", "cmd": []}),
    );
    let problem = unknown.await.problem(400, "invalid-body");
    assert!(problem.detail.contains("`cmd`"), "{problem:?}");
    // Refused by its head: the body need not come.
    let head = format!(
        "POST /sessions HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: {json}\r\n\
         Content-Length: 2097152\r\nConnection: close\r\n\r\n",
        server.address,
        server.bearer()
    );
    let answer = server.raw(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("too-large"),
        "{answer}"
    );
    let text = post().header("content-type", "text/plain").body("{}").await;
    text.problem(400, "invalid-body");
    unharmed(&server, &bystander).await;
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let server = wrap("pty");
    server.get("/nothing").await.problem(404, "not-found");
    let put = server.request(Method::PUT, "/sessions").await;
    put.problem(405, "method-not-allowed");
    server
        .delete("/info")
        .await
        .problem(405, "method-not-allowed");
}

#[tokio::test]
async fn queries_that_cannot_be_read() {
    let server = wrap("pty");
    let session = bystander(&server).await;
    let logs = format!("{}/logs", session.path);
    for query in ["?tail=-1", "?tail=many", "?follow=perhaps"] {
        let answer = server.get(&format!("{logs}{query}")).await;
        answer.problem(400, "invalid-query");
    }
    let answer = server.get(&format!("{logs}?since=yesterday")).await;
    answer.problem(400, "invalid-since");
    let terminal = format!("{}/terminal?mode=root", session.path);
    let answer = server.get(&terminal).upgrade().await;
    answer.problem(400, "invalid-query");
}

#[tokio::test]
async fn a_terminal_that_is_asked_for_as_a_page() {
    let server = wrap("pty");
    let session = bystander(&server).await;
    let answer = server.get(&format!("{}/terminal", session.path)).await;
    answer.problem(400, "websocket-required");
}

#[tokio::test]
async fn resizes_to_what_no_terminal_has() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let mut terminal = bystander.terminal("").await;
    for (cols, rows) in [(0, 0), (10_000, 10_000), (80, 0), (u32::MAX, 1)] {
        terminal.resize(cols, rows).await;
    }
    terminal
        .wait_for("four refusals", |terminal| {
            terminal.errors() == ["invalid-size"; 4]
        })
        .await;
    assert_eq!(terminal.size, (80, 24));
    unharmed(&server, &bystander).await;
}

#[tokio::test]
async fn invalid_text_frames() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let mut terminal = bystander.terminal("").await;
    let garbage = [
        "",
        "\u{0}\u{1}\u{7f}ÿ",
        "{",
        "[1,2",
        "7",
        r#"{"type":"resize"}"#,
    ];
    for text in garbage {
        terminal.send_text(text).await;
    }
    terminal
        .wait_for("the refusals", |terminal| {
            terminal.errors() == ["invalid-frame"; 6]
        })
        .await;
    terminal
        .send_text(r#"{"type":"from-the-future","x":1}"#)
        .await;
    terminal.type_keys("on we go\r").await;
    terminal.shows("on we go\r\non we go").await;
    assert_eq!(terminal.errors().len(), 6);
    unharmed(&server, &bystander).await;
}

/// Attack: a frame of text that is none. Then: the session beside it goes on.
#[tokio::test]
async fn a_text_frame_that_is_not_utf8() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let bearer = server.bearer();
    let handshake = format!(
        "GET {}/terminal HTTP/1.1\r\nHost: {}\r\nAuthorization: {bearer}\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bystander.path, server.address
    );
    // A whole text frame (RFC 6455 §5.2) of four bytes, masked with zeros.
    let frame = b"\x81\x84\0\0\0\0\xff\xfe\x80\xc0";
    let answer = server.raw(&[handshake.as_bytes(), frame].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    unharmed(&server, &bystander).await;
}

/// Attack: a frame of 100 MiB. Then: closed with 1009, and the session beside it goes on.
#[tokio::test]
async fn a_frame_of_a_hundred_mebibytes() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let mut terminal = bystander.terminal("").await;
    terminal.hello().await;
    // The service may hang up before it has got all of it.
    let _ = terminal.send(Message::binary(vec![0; 100 << 20])).await;
    assert_eq!(terminal.closed().await, 1009);
    unharmed(&server, &bystander).await;
}

/// Attack: a message of ten thousand fragments that never ends. Then: the session beside it goes on.
#[tokio::test]
async fn a_message_of_many_fragments_that_never_ends() {
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let bearer = server.bearer();
    let mut bytes = format!(
        "GET {}/terminal HTTP/1.1\r\nHost: {}\r\nAuthorization: {bearer}\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bystander.path, server.address
    )
    .into_bytes();
    bytes.extend(b"\x02\x81\0\0\0\0x");
    for _ in 0..10_000 {
        // 256 more bytes of the same message.
        bytes.extend(b"\x00\xfe\x01\x00\0\0\0\0");
        bytes.extend([b'x'; 256]);
    }
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _ = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    unharmed(&server, &bystander).await;
}

/// Attack: a hundred requests of which the end never comes. Then: others are served.
#[tokio::test]
async fn a_handshake_that_never_ends_holds_nobody_up() {
    use tokio::io::AsyncWriteExt;
    let server = wrap("pty");
    let bystander = bystander(&server).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        stream
            .write_all(b"GET /sessions HTTP/1.1\r\nHo")
            .await
            .unwrap();
        slow.push(stream);
    }
    unharmed(&server, &bystander).await;
}

/// Attack: a request for a host and no path, as one asks a proxy. Then: 400.
#[tokio::test]
async fn a_request_without_a_path_is_refused() {
    let server = wrap("pty");
    for line in ["GET in HTTP/1.1", "CONNECT localhost:80 HTTP/1.1"] {
        let request = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line}: {answer}");
    }
}
