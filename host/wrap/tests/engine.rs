//! Viewers that come late, fall behind, or come back, all see the right screen, and hold nobody up.

use agentd_api::State;
use agentd_api::terminal::ServerFrame;
use agentd_host::testing::{TestSession, TestTerminal};
use agentd_terminal::{Emulator, Size};
use serde_json::json;

use crate::{wrap, wrap_with};

/// Much more than the log keeps, then a screen that says so.
const FLOOD: &str = "seq 1 400000; printf '\\033[2J\\033[Hthe flood is over'";

/// The text of the screen that a viewer ended up with.
fn screen(terminal: &TestTerminal) -> Vec<String> {
    let mut emulator = Emulator::new(Size::new(80, 24).unwrap(), 0);
    emulator.advance(&terminal.shown);
    let mut lines = emulator.screen_text();
    lines.truncate(
        lines
            .iter()
            .rposition(|line| !line.is_empty())
            .map_or(0, |last| last + 1),
    );
    lines
}

/// Whether the last of what was shown says so; cheaper than the whole screen.
fn is_over(terminal: &TestTerminal) -> bool {
    let last = &terminal.shown[terminal.shown.len().saturating_sub(4096)..];
    String::from_utf8_lossy(last).contains("the flood is over")
}

fn snapshots(terminal: &TestTerminal) -> usize {
    let is_snapshot = |frame: &&ServerFrame| matches!(frame, ServerFrame::Snapshot { .. });
    terminal.frames.iter().filter(is_snapshot).count()
}

async fn has_exited(session: &TestSession) {
    session
        .until("its end", |session| session.state == State::Exited)
        .await;
}

#[tokio::test]
async fn a_thousand_cuts_lose_no_byte_and_bring_none_twice() {
    let server = wrap("pty");
    let session = server.script("demo", "stty -opost; seq 1 60000; cat").await;
    let expected: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    let mut first = session.terminal("").await;
    let hello = first.hello().await;
    first.shows("60000").await;
    let mut received: Vec<u8> = Vec::new();

    let mut random = 1_u32;
    for _ in 0..1000 {
        let query = format!("?seq={}&epoch={}", received.len(), hello.epoch);
        let mut terminal = session.terminal(&query).await;
        assert_eq!(terminal.hello().await.seq, received.len() as u64);
        if received.len() == expected.len() {
            break;
        }
        terminal
            .wait_for("output", |terminal| !terminal.output.is_empty())
            .await;
        assert_eq!(snapshots(&terminal), 0);
        // The cut comes anywhere in what arrived.
        let most = terminal.output.len().min(700);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let taken = 1 + (random >> 8) as usize % most;
        received.extend_from_slice(&terminal.output[..taken]);
    }
    let rest = format!("?seq={}&epoch={}", received.len(), hello.epoch);
    let mut terminal = session.terminal(&rest).await;
    let missing = expected.len() - received.len();
    terminal
        .wait_for("the rest", |terminal| terminal.output.len() >= missing)
        .await;
    received.extend_from_slice(&terminal.output);
    assert!(
        received == expected.as_bytes(),
        "{} of {}",
        received.len(),
        expected.len()
    );
}

#[tokio::test]
async fn a_viewer_behind_the_log_gets_a_snapshot() {
    let server = wrap_with("pty", &["--history-bytes", "131072"]);
    let session = server
        .script("demo", &format!("read go; {FLOOD}; cat"))
        .await;
    let mut terminal = session.terminal("").await;
    let hello = terminal.hello().await;
    terminal.type_keys("go\r").await;
    terminal.wait_for("the end", is_over).await;
    assert_eq!(screen(&terminal), ["the flood is over"]);

    let query = format!("?seq=10&epoch={}", hello.epoch);
    let mut late = session.terminal(&query).await;
    late.wait_for("the end", is_over).await;
    assert_eq!(screen(&late), ["the flood is over"]);
    assert!(late.hello().await.seq > 10);
    assert_eq!(snapshots(&late), 1);
}

#[tokio::test]
async fn a_session_without_viewers_is_not_held_up() {
    let server = wrap("pty");
    let session = server.script("demo", FLOOD).await;
    has_exited(&session).await;
    let mut terminal = session.terminal("").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(screen(&terminal), ["the flood is over"]);
}

#[tokio::test]
async fn many_floods_take_turns_and_keep_nobody_from_typing() {
    let server = wrap("pty");
    let typist = server.start("typist", &["cat"]).await;
    let mut keyboard = typist.terminal("").await;
    let mut floods = Vec::new();
    for number in 0..10 {
        let session = server.script(&format!("flood{number}"), FLOOD).await;
        floods.push(session.terminal("").await);
    }
    let screens = async {
        let mut screens = Vec::new();
        for mut flood in floods {
            assert_eq!(flood.closed().await, 4000);
            screens.push(screen(&flood));
        }
        screens
    };
    let typing = async {
        for number in 0..50 {
            keyboard.type_keys(format!("key {number}\r")).await;
            keyboard
                .shows(&format!("key {number}\r\nkey {number}\r\n"))
                .await;
        }
    };
    let (screens, ()) = tokio::join!(screens, typing);
    assert!(
        screens
            .iter()
            .all(|screen| screen == &["the flood is over"])
    );
}

#[tokio::test]
async fn single_bytes_are_sent_together() {
    let server = wrap("pty");
    let script = "stty -opost; read go; dd if=/dev/zero bs=1 count=100000 2>/dev/null; echo end";
    let session = server.script("demo", script).await;
    let mut terminal = session.terminal("").await;
    terminal.type_keys("go\r").await;
    assert_eq!(terminal.closed().await, 4000);
    let zeros = terminal.shown.iter().filter(|byte| **byte == 0).count();
    assert_eq!(zeros, 100_000);
    assert!(
        terminal.output_frames < 50_000,
        "{}",
        terminal.output_frames
    );
}

/// Fault: a viewer does not read. Then: nobody is held up, and it ends with the right screen.
#[tokio::test]
async fn a_viewer_that_does_not_read_holds_nobody_up_and_ends_with_the_right_screen() {
    let server = wrap("pty");
    let session = server.script("demo", &format!("read go; {FLOOD}")).await;
    let mut stuck = session.terminal("").await;
    stuck.hello().await;
    let mut other = session.terminal("").await;
    other.type_keys("go\r").await;
    assert_eq!(other.closed().await, 4000);
    assert_eq!(screen(&other), ["the flood is over"]);
    has_exited(&session).await;

    assert_eq!(stuck.closed().await, 4000);
    assert_eq!(screen(&stuck), ["the flood is over"]);
}

#[tokio::test]
async fn a_viewer_that_acknowledges_nothing_is_sent_no_more_than_its_window() {
    const WINDOW_AND_A_FRAME: usize = (256 + 64) * 1024;
    let server = wrap("pty");
    let session = server.script("demo", &format!("read go; {FLOOD}")).await;
    let mut terminal = session.terminal("?ack=1").await;
    let hello = terminal.hello().await;
    terminal.type_keys("go\r").await;
    // The agent does not wait for it.
    has_exited(&session).await;

    // What is beyond the window comes only once all before it is acknowledged; an acknowledgement
    // of less, or an older one, changes nothing.
    terminal
        .wait_for("its window", |terminal| terminal.output.len() > 256 * 1024)
        .await;
    assert!(
        terminal.output.len() <= WINDOW_AND_A_FRAME,
        "{}",
        terminal.output.len()
    );
    assert_eq!(snapshots(&terminal), 0);
    let parsed = hello.seq + terminal.output.len() as u64;
    for seq in [0, parsed, 1] {
        terminal
            .send_text(&json!({"type": "ack", "seq": seq}).to_string())
            .await;
    }
    // The rest is far beyond the window, so it comes as one snapshot.
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(snapshots(&terminal), 1);
    assert_eq!(screen(&terminal), ["the flood is over"]);
}

#[tokio::test]
async fn a_lost_acknowledgement_heals_with_the_next() {
    let server = wrap("pty");
    let session = server
        .script("demo", "stty -opost; read go; seq 1 60000; read end")
        .await;
    let mut terminal = session.terminal("?ack=1").await;
    let start = terminal.hello().await.seq;
    terminal.type_keys("go\r").await;
    // One acknowledgement for many frames, and never one for the last.
    let mut acknowledged = 0;
    while !terminal.text().contains("\n60000\n") {
        let before = terminal.output.len();
        terminal
            .wait_for("more", |terminal| terminal.output.len() > before)
            .await;
        if terminal.output.len() - acknowledged > 200 * 1024 {
            acknowledged = terminal.output.len();
            let seq = start + acknowledged as u64;
            terminal
                .send_text(&json!({"type": "ack", "seq": seq}).to_string())
                .await;
        }
    }
    assert_eq!(snapshots(&terminal), 0);
}

#[tokio::test]
async fn many_join_at_once_and_all_see_the_same() {
    let server = wrap("pty");
    let session = server
        .script("demo", &format!("read go; {FLOOD}; cat"))
        .await;
    session.terminal("").await.type_keys("go\r").await;
    let mut joined = Vec::new();
    for _ in 0..50 {
        joined.push(session.terminal("").await);
    }
    for mut terminal in joined {
        terminal.wait_for("the end", is_over).await;
        assert_eq!(screen(&terminal), ["the flood is over"]);
    }
}

/// Asks twice, and returns what came between the ends of the two answers.
const ASK: &str = "stty raw -echo; printf '\\033[c'; IFS= read -r -s -d c first; \
                   printf '\\033[5n'; IFS= read -r -s -d n second; \
                   printf 'first:%q second:%q.' \"$first\" \"$second\"; cat";

#[tokio::test]
async fn a_programs_queries_are_answered_once_with_any_number_of_viewers() {
    let server = wrap("pty");
    // With nobody.
    let session = server.start("alone", &["/bin/bash", "-c", ASK]).await;
    let mut terminal = session.terminal("").await;
    terminal.shows("second:$'\\E[0'.").await;
    let alone = terminal.text();
    assert!(alone.contains("first:$'\\E[?"), "{alone}");

    // With three.
    let script = format!("read go; {ASK}");
    let session = server.start("watched", &["/bin/bash", "-c", &script]).await;
    let mut watching = [
        session.terminal("").await,
        session.terminal("").await,
        session.terminal("").await,
    ];
    watching[0].type_keys("go\r").await;
    for terminal in &mut watching {
        terminal.shows("second:$'\\E[0'.").await;
    }
}

#[tokio::test]
async fn a_late_viewer_gets_the_modes_too() {
    let server = wrap("pty");
    let modes = "\\033[?1049h\\033[?2004h\\033[?1002h\\033[?1006h\\033[?25l\\033[>1u";
    let session = server
        .script("demo", &format!("printf '{modes}in the other screen'; cat"))
        .await;
    session
        .terminal("")
        .await
        .shows("in the other screen")
        .await;
    let mut late = session.terminal("").await;
    late.shows("in the other screen").await;
    for mode in ["?1049", "?2004", "?1002", "?1006", "?25"] {
        assert!(late.text().contains(mode), "{mode}: {:?}", late.text());
    }
    assert_eq!(snapshots(&late), 1);
}

#[tokio::test]
async fn a_prompt_is_marked_as_a_paste_where_the_program_wants_it() {
    let server = wrap("pty");
    let show = "stty raw -echo; printf ready; head -c 20 | od -c; cat";
    let session = server.script("plain", show).await;
    session.terminal("").await.shows("ready").await;
    session.prompt("0123456789012345678").await.expect(202);
    session.terminal("").await.shows("8  \\r").await;

    let session = server
        .script("marked", &format!("printf '\\033[?2004h'; {show}"))
        .await;
    session.terminal("").await.shows("ready").await;
    session.prompt("0123456").await.expect(202);
    session
        .terminal("")
        .await
        .shows("033   [   2   0   0   ~")
        .await;
}

#[tokio::test]
async fn the_interrupt_key_is_not_stuck_behind_a_paste() {
    let server = wrap("pty");
    let session = server
        .script(
            "demo",
            "trap 'echo interrupted; exit 3' INT; echo ready; \
                                         while :; do sleep 0.05; done",
        )
        .await;
    let mut terminal = session.terminal("").await;
    terminal.shows("ready").await;
    terminal.type_keys(vec![b'x'; 512 * 1024]).await;
    terminal.type_keys("\u{3}").await;
    assert_eq!(terminal.closed().await, 4000);
    assert_eq!(terminal.exit(), (Some(3), None));
}
