//! Programs that cost a terminal as much as they can, and viewers that break the protocol.

use std::fs;
use std::time::{Duration, Instant};

use agentd_api::terminal::ServerFrame;
use agentd_host::testing::{TestServer, TestSession, eventually, hostile};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::{wrap, wrap_with};

/// A session that prints these bytes on a screen of this size, and then stays.
async fn prints(server: &TestServer, bytes: &[u8], cols: u16, rows: u16) -> TestSession {
    fs::write(server.work_dir().join("bytes"), bytes).unwrap();
    let script = "stty raw -echo; cat bytes; printf 'the end'; touch printed; exec sleep 1000";
    let mut body = server.new_session("hostile", &["sh", "-c", script]);
    body["size"] = json!({"cols": cols, "rows": rows});
    let session = server.start_with(&body).await;
    let printed = server.work_dir().join("printed");
    eventually("the end of the output", async || {
        printed.exists().then_some(())
    })
    .await;
    session
}

/// Attaches, and is shown a snapshot with this in it.
async fn is_shown(session: &TestSession, text: &str) {
    eventually("a snapshot with the end of the output", async || {
        let mut terminal = session.terminal("?mode=ro").await;
        terminal.hello().await;
        let snapshot = |frame: &ServerFrame| matches!(frame, ServerFrame::Snapshot { .. });
        terminal
            .wait_for("the snapshot", |terminal| {
                terminal.frames.iter().any(snapshot) && !terminal.shown.is_empty()
            })
            .await;
        let shown = terminal.text().contains(text);
        terminal.detach().await;
        shown.then_some(())
    })
    .await;
}

fn colors(cells: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..cells {
        let [_, r, g, b] = n.wrapping_mul(7919).to_be_bytes();
        bytes.extend(format!("\x1b[38;2;{r};{g};{b};48;2;{b};{g};{r}mx").as_bytes());
    }
    bytes
}

#[tokio::test]
async fn a_screen_of_colors_can_be_watched() {
    let server = wrap("pty");
    let session = prints(&server, &colors(500 * 150), 500, 150).await;
    is_shown(&session, "end").await;
}

/// Attack: ten thousand hyperlinks of 4,000 letters. Then: the snapshot fits the socket, and the screen
/// is right.
#[tokio::test]
async fn a_screen_of_long_links_can_be_watched() {
    let server = wrap("pty");
    let address = "a".repeat(4000);
    let mut bytes = Vec::new();
    for n in 0..10_000 {
        bytes.extend(format!("\x1b]8;;{n}{address}\x07x").as_bytes());
    }
    let session = prints(&server, &bytes, 200, 50).await;
    is_shown(&session, "end").await;
}

#[tokio::test]
async fn a_colorful_screen_that_was_put_away_can_be_watched() {
    let server = wrap_with("pty", &["--screen-idle-ms=50"]);
    let session = prints(&server, &colors(1000 * 80), 80, 24).await;
    // Whether it is away already at one of these times does not matter, and later it is.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        is_shown(&session, "end").await;
    }
}

/// How much longer than on an idle service a key's echo may take while another session prints what
/// costs most: other threads, and what else runs on the machine, have their turn of the processor before
/// it. Where a key waits for what is printed, it waits for ever.
const SHARE: u32 = 20;
const TURN: Duration = Duration::from_secs(5);

/// The shortest time of some keys until their echo.
async fn echo(session: &TestSession, mark: &str) -> Duration {
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    let mut shortest = Duration::MAX;
    for key in 0..3 {
        let key = format!("<{mark}-{key}>");
        let typed = Instant::now();
        terminal.type_keys(format!("{key}\r")).await;
        terminal.shows(&format!("{key}\r\n{key}")).await;
        shortest = shortest.min(typed.elapsed());
    }
    terminal.detach().await;
    shortest
}

/// Attack: output that costs a terminal as much as it can (REP of 2^31, open OSC and DCS of any length,
/// marks, margins), for ever. Then: the echo of another session comes all the same.
#[tokio::test]
async fn hostile_output_does_not_delay_other_sessions() {
    let server = wrap("pty");
    let other = server.start("other", &["cat"]).await;
    let idle = echo(&other, "idle").await;
    for (number, input) in hostile::inputs().into_iter().enumerate() {
        let file = server.work_dir().join("hostile");
        fs::write(file, input.bytes(200_000)).unwrap();
        let name = format!("hostile-{number}");
        let script = "while :; do cat hostile; done";
        let hostile = server.start(&name, &["sh", "-c", script]).await;
        let mut watcher = hostile.terminal("?mode=ro").await;
        watcher.hello().await;
        server.get("/health").await.expect(200);
        let busy = echo(&other, &number.to_string()).await;
        assert!(
            busy <= SHARE * idle + TURN,
            "{}: {busy:?} instead of {idle:?}",
            input.name
        );
        // A prompt looks at the screen, a delete waits for the last output.
        hostile.prompt("text").await.expect(202);
        hostile.delete().await;
        assert_eq!(watcher.closed().await, 4004, "{}", input.name);
    }
}

#[tokio::test]
async fn a_nested_paste_is_typed() {
    let server = wrap("pty");
    let session = server
        .script("demo", "stty raw -echo; echo ready; exec cat")
        .await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    let layers = 80_000;
    let text = format!("{}{}fine", "\x1b[20".repeat(layers), "1~".repeat(layers));
    session.prompt(&text).await.expect(202);
    terminal.shows("fine\r").await;
}

/// The answer to the program's question waits behind a paste that the program does not read; what
/// the program prints meanwhile is read all the same.
#[tokio::test]
async fn a_program_that_asks_behind_a_paste_goes_on() {
    let server = wrap("pty");
    let script = "stty raw -echo; echo ready; while ! [ -e go ]; do sleep 0.01; done
        printf '\\033[6n'; head -c 2000000 /dev/zero | tr '\\0' x; echo at the end; exec sleep 1000";
    let session = server.script("demo", script).await;
    let mut writer = session.terminal("").await;
    writer.shows("ready").await;
    for _ in 0..3 {
        writer.type_keys(vec![b'x'; 512 * 1024]).await;
    }
    let mut watcher = session.terminal("?mode=ro").await;
    watcher.hello().await;
    fs::write(server.work_dir().join("go"), "").unwrap();
    watcher.shows("at the end").await;
}

/// A program that asks for ever and reads nothing goes on, too.
///
/// Attack: a program asks the terminal for ever and reads no answer. Then: it and its viewers go on.
#[tokio::test]
async fn a_program_that_only_asks_goes_on() {
    let server = wrap("pty");
    let bytes = "\x1b[6n".repeat(500_000).into_bytes();
    let session = prints(&server, &bytes, 80, 24).await;
    is_shown(&session, "end").await;
}

/// Attack: frames that are none. Then: 1002 or 1007.
#[tokio::test]
async fn a_viewer_that_breaks_the_protocol_gets_the_close_code() {
    let server = wrap("pty");
    let session = server.start("demo", &["cat"]).await;
    let text = OpCode::Data(Data::Text);
    let reserved = OpCode::Data(Data::Reserved(3));
    for (payload, opcode, code) in [(&[0xff], text, 1007), (b"x", reserved, 1002)] {
        let mut terminal = session.terminal("").await;
        terminal.hello().await;
        let frame = Frame::message(payload.to_vec(), opcode, true);
        terminal.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(terminal.closed().await, code);
    }
}

#[tokio::test]
async fn a_terminal_that_waits_for_a_start_is_closed_with_a_code_at_shutdown() {
    let mut server = wrap("slow");
    let session = server.start("demo", &["never"]).await;
    let mut terminal = session.terminal("").await;
    server.stop();
    let code = terminal.closed().await;
    assert!([4000, 4004, 4010].contains(&code), "{code}");
}
