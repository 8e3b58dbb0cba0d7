use agentd_api::terminal::{Mode, ServerFrame};
use agentd_host::testing::{TestServer, TestSession, TestTerminal, eventually};
use tokio_tungstenite::tungstenite::Message;

use crate::wrap;

#[tokio::test]
async fn a_viewer_gets_a_hello_and_output_and_types() {
    let server = wrap("pty");
    let session = server.script("demo", "echo ready; cat").await;
    let mut terminal = session.terminal("").await;
    let hello = terminal.hello().await;
    assert_eq!((hello.session.as_str(), hello.mode), ("demo", Mode::Rw));
    assert_eq!(terminal.size, (80, 24));
    terminal.shows("ready").await;
    terminal.type_keys("hello\r").await;
    terminal.shows("hello\r\nhello\r\n").await;
    assert_eq!(session.show().await.viewers, 1);
    drop(terminal);
    session
        .until("no viewer", |session| session.viewers == 0)
        .await;
}

#[tokio::test]
async fn the_exit_comes_last_with_its_code() {
    let server = wrap("pty");
    let session = server.script("demo", "read line; echo bye; exit 7").await;
    let mut terminal = session.terminal("").await;
    terminal.type_keys("go\r").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(7), None));
    assert!(terminal.text().ends_with("bye\r\n"), "{terminal:?}");
}

#[tokio::test]
async fn the_exit_comes_last_with_its_signal() {
    let server = wrap("pty");
    let session = server.script("demo", "read line; kill -9 $$").await;
    let mut terminal = session.terminal("").await;
    terminal.type_keys("go\r").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (None, Some(9)));
}

#[tokio::test]
async fn a_session_that_has_ended_is_still_shown() {
    let server = wrap("pty");
    let session = server.script("demo", "echo the last words; exit 5").await;
    session.ended().await;
    let mut terminal = session.terminal("").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(5), None));
    assert!(terminal.text().contains("the last words"), "{terminal:?}");
}

#[tokio::test]
async fn a_deleted_session_closes_its_terminals() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    session.delete().await;
    assert_eq!(terminal.closed().await, 4004);
}

#[tokio::test]
async fn a_session_that_is_lost_closes_its_terminals() {
    let mut server = wrap("slow");
    let session = server.start("demo", &["go"]).await;
    std::fs::write(server.work_dir().join("go"), "").unwrap();
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    server.stop();
    // Its program exits when the service ends it.
    assert!([4000, 4010].contains(&terminal.closed().await));
}

#[tokio::test]
async fn a_terminal_waits_while_the_session_is_starting() {
    let server = wrap("slow");
    let session = server.start("demo", &["go"]).await;
    let shown = session.show().await;
    assert_eq!(shown.state, agentd_api::State::Starting);
    assert_eq!(shown.progress.as_deref(), Some("waiting for the file"));
    let mut terminal = session.terminal("").await;
    assert!(terminal.frames.is_empty());
    std::fs::write(server.work_dir().join("go"), "").unwrap();
    assert_eq!(terminal.hello().await.mode, Mode::Ro);
    terminal.shows("here at last").await;
}

#[tokio::test]
async fn a_backend_without_a_terminal_refuses_it() {
    let server = wrap("fixture");
    let session = server.start("demo", &["run"]).await;
    let path = format!("{}/terminal", session.path);
    let problem = server
        .get(&path)
        .upgrade()
        .await
        .problem(409, "no-terminal");
    assert!(problem.detail.contains("fixture"), "{problem:?}");
    let bearer = server.bearer();
    let refused = server.terminal(&path, &[("authorization", &bearer)]).await;
    assert_eq!(refused.unwrap_err(), 409);
}

#[tokio::test]
async fn a_reader_neither_types_nor_resizes() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut reader = session.terminal("?mode=ro").await;
    assert_eq!(reader.hello().await.mode, Mode::Ro);
    reader.type_keys("rm -rf /\r").await;
    reader
        .wait_for("the refusal", |reader| reader.errors() == ["read-only"])
        .await;
    reader.resize(100, 30).await;
    let mut writer = session.terminal("").await;
    writer.type_keys("from the writer\r").await;
    reader.shows("from the writer\r\nfrom the writer").await;
    assert!(!reader.text().contains("rm"), "{reader:?}");
    assert_eq!(reader.size, (80, 24));
    assert_eq!(session.show().await.size.cols, 80);
}

#[tokio::test]
async fn all_viewers_see_the_same() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut first = session.terminal("").await;
    let mut second = session.terminal("").await;
    first.hello().await;
    second.hello().await;
    first.type_keys("from the first\r").await;
    second.shows("from the first\r\nfrom the first\r\n").await;
    second.type_keys("from the second\r").await;
    first.shows("from the second\r\nfrom the second\r\n").await;
    assert_eq!(session.show().await.viewers, 2);
}

#[tokio::test]
async fn a_viewer_resumes_where_it_was() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    let hello = terminal.hello().await;
    terminal.type_keys("before\r").await;
    terminal.shows("before\r\nbefore\r\n").await;
    let seq = hello.seq + terminal.output.len() as u64;
    drop(terminal);
    let mut other = session.terminal("").await;
    other.type_keys("meanwhile\r").await;
    other.shows("meanwhile\r\nmeanwhile\r\n").await;

    let query = format!("?seq={seq}&epoch={}", hello.epoch);
    let mut resumed = session.terminal(&query).await;
    assert_eq!(resumed.hello().await.seq, seq);
    resumed.shows("meanwhile\r\nmeanwhile\r\n").await;
    assert_eq!(resumed.output, b"meanwhile\r\nmeanwhile\r\n");
}

#[tokio::test]
async fn a_viewer_of_another_epoch_gets_a_snapshot() {
    let server = wrap("pty");
    let session = server.script("demo", "printf 'all of it'; cat").await;
    session.terminal("").await.shows("all of it").await;
    for query in [
        "?seq=3&epoch=another",
        "?seq=3",
        "?epoch=another",
        "?seq=99999999&epoch=",
    ] {
        session.terminal(query).await.shows("all of it").await;
    }
}

#[tokio::test]
async fn input_keeps_its_order_and_its_bytes() {
    let server = wrap("pty");
    let script = "stty raw -echo; echo ready; head -c 300000 | sha256sum; sleep 100";
    let session = server.script("demo", script).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let file = server.work_dir().join("expected");
    std::fs::write(&file, &bytes).unwrap();
    let sum = std::process::Command::new("sha256sum")
        .arg(&file)
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    for chunk in bytes.chunks(4099) {
        terminal.type_keys(chunk.to_vec()).await;
    }
    terminal.shows(sum.split(' ').next().unwrap()).await;
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_up_nobody_else() {
    let server = wrap("pty");
    let deaf = server
        .script("deaf", "stty raw -echo; echo ready; sleep 1000")
        .await;
    let mut terminal = deaf.terminal("").await;
    terminal.shows("ready").await;
    // More than is queued for a program; the socket takes some of it, too.
    for _ in 0..8 {
        let message = Message::binary(vec![b'x'; 512 * 1024]);
        let sent = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            terminal.send(message),
        );
        if sent.await.is_err() {
            break;
        }
    }
    let other = server.start("other", &["cat"]).await;
    let mut other = other.terminal("").await;
    other.type_keys("fine here\r").await;
    other.shows("fine here\r\nfine here").await;
    let mut watcher = deaf.terminal("?mode=ro").await;
    watcher.hello().await;
    deaf.delete().await;
    assert_eq!(watcher.closed().await, 4004);
}

#[tokio::test]
async fn a_viewer_that_vanishes_is_no_longer_counted() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    assert_eq!(session.show().await.viewers, 1);
    drop(terminal);
    eventually("no viewer", async || {
        (session.show().await.viewers == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_connection_of_a_viewer_that_leaves_is_closed_with_1000() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    terminal.detach().await;
}

#[tokio::test]
async fn the_connection_of_a_viewer_that_leaves_during_the_start_ends() {
    let server = wrap("slow");
    let session = server.start("demo", &["never"]).await;
    session.terminal("").await.detach().await;
}

/// A program that reads nothing, and a viewer of it.
async fn deaf(server: &TestServer) -> (TestSession, TestTerminal) {
    let script = "stty raw -echo; echo ready; sleep 1000";
    let session = server.script("deaf", script).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    (session, terminal)
}

#[tokio::test]
async fn the_connection_of_a_viewer_that_leaves_ends_while_the_program_does_not_read() {
    let server = wrap("pty");
    let (session, mut terminal) = deaf(&server).await;
    // More than is queued for a program.
    for _ in 0..3 {
        terminal.type_keys(vec![b'x'; 512 * 1024]).await;
    }
    for _ in 0..100 {
        terminal.type_keys("x").await;
    }
    terminal.detach().await;
    session
        .until("no viewer", |session| session.viewers == 0)
        .await;
}

#[tokio::test]
async fn a_viewer_that_leaves_is_noticed_while_more_waits_than_is_read() {
    let server = wrap("pty");
    let (session, mut terminal) = deaf(&server).await;
    // More than is queued for a program and read for a viewer together.
    for _ in 0..6 {
        terminal.type_keys(vec![b'x'; 512 * 1024]).await;
    }
    let is_notice = |frame: &ServerFrame| matches!(frame, ServerFrame::Error { code, .. } if code == "input-waits");
    terminal
        .wait_for("the notice", |terminal| {
            terminal.frames.iter().any(is_notice)
        })
        .await;
    drop(terminal);
    session
        .until("no viewer", |session| session.viewers == 0)
        .await;
}

#[tokio::test]
async fn what_is_typed_by_a_viewer_that_leaves_at_once_is_typed() {
    let server = wrap("pty");
    for number in 0..20 {
        let session = server
            .script(&format!("demo{number}"), "read -r line; exit 7")
            .await;
        session.terminal("").await.type_keys("first\r").await;
        session.ended().await;
    }
}

#[tokio::test]
async fn what_is_typed_before_leaving_is_typed() {
    let server = wrap("pty");
    let session = server
        .script("demo", "read -r one; read -r two; echo got $one $two")
        .await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    terminal.type_keys("first\r").await;
    terminal.type_keys("second\r").await;
    terminal.detach().await;
    session.ended().await;
    let output = String::from_utf8(session.output().await).unwrap();
    assert!(output.ends_with("got first second\r\n"), "{output:?}");
}
