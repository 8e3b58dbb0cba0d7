//! What can be done with an agent that runs: typing, looking, resizing, attaching.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use std::process::Command;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use scene::{GRACE, Scene, exited, wait_until};

/// Reads raw bytes, shows them in hexadecimal and asks for bracketed pastes first where it is asked to.
const RAW: &str = "stty raw -echo opost onlcr; printf \"$1\"; printf 'ready\\r\\n'; \
    dd bs=4096 count=1 2>/dev/null | od -An -v -tx1 -w60; \
    dd bs=4096 count=1 2>/dev/null | od -An -v -tx1 -w60; printf 'done\\r\\n'; sleep 1000";

/// Attack: a prompt in tmux with the end of a paste and line ends in it. Then: it is one paste.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_one_paste_and_enter_a_key_of_its_own() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let spec = scene.spec("raw", &["sh", "-c", RAW, "sh", "\\033[?2004h"]);
    let agent = scene.start(spec).await;
    agent.shows("ready").await;
    let text = "a\u{1b}[201~b\nc".to_owned();
    agent.session.prompt(text, false).await.unwrap();
    // ESC [ 2 0 0 ~ a b CR c ESC [ 2 0 1 ~
    agent
        .shows(" 1b 5b 32 30 30 7e 61 62 0d 63 1b 5b 32 30 31 7e")
        .await;
    agent.session.prompt(String::new(), true).await.unwrap();
    agent.shows(" 0d").await;
    assert_eq!(scene.ask(&["list-buffers"]), "");
}

/// Arrows as the program wants them, and everything else as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_pressed() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    for (mode, up) in [("", " 1b 5b 41"), ("\\033[?1h\\033[?2004h", " 1b 4f 41")] {
        let spec = scene.spec("raw", &["sh", "-c", RAW, "sh", mode]);
        let agent = scene.start(spec).await;
        agent.shows("ready").await;
        agent.session.write(b"\x1b[A".to_vec()).await.unwrap();
        agent.shows(up).await;
        agent.session.write(b"y".to_vec()).await.unwrap();
        agent.shows(" 79").await;
        agent.shows("done").await;
        agent.session.terminate(Duration::ZERO).await.unwrap();
        let gone = agent.session.write(b"y".to_vec()).await.unwrap_err();
        assert_eq!(gone.kind, ErrorKind::Gone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_knows_no_paste_gets_only_the_text() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .start(scene.spec("raw", &["sh", "-c", RAW, "sh", ""]))
        .await;
    agent.shows("ready").await;
    agent
        .session
        .prompt("Enter #{pid} $HOME;".to_owned(), false)
        .await
        .unwrap();
    agent
        .shows(" 45 6e 74 65 72 20 23 7b 70 69 64 7d 20 24 48 4f 4d 45 3b")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_reaches_a_pane_in_copy_mode() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell("copy", "read -r line; echo \"got $line\"; sleep 1000")
        .await;
    scene.ask(&["copy-mode", "-t", "=copy:"]);
    agent
        .session
        .prompt("words".to_owned(), true)
        .await
        .unwrap();
    agent.shows("got words").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_prompt_arrives_whole() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell(
            "long",
            "stty raw -echo; echo ready; head -c 100000 | sha256sum >sum; echo done; sleep 1000",
        )
        .await;
    agent.shows("ready").await;
    let text: String = ('a'..='z').cycle().take(100_000).collect();
    std::fs::write(scene.path("text"), &text).unwrap();
    agent.session.prompt(text, false).await.unwrap();
    wait_until("it has arrived", || {
        std::fs::read(scene.path("sum")).is_ok_and(|sum| sum.len() > 64)
    })
    .await;
    let sum = Command::new("sha256sum")
        .stdin(std::fs::File::open(scene.path("text")).unwrap())
        .output()
        .unwrap();
    assert_eq!(std::fs::read(scene.path("sum")).unwrap(), sum.stdout);
}

/// Pasting into a dead pane crashes tmux 3.3a, with all that runs in it.
///
/// Attack: a prompt at the moment in which its session ends. Then: it reaches no other session.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_at_the_moment_of_the_end_reaches_no_other_session() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let bystander = scene
        .start(scene.spec("bystander", &["sleep", "1000"]))
        .await;
    for number in 0..10 {
        let agent = scene.shell(&format!("end-{number}"), "exit 0").await;
        while agent.session.prompt("x".to_owned(), true).await.is_ok() {}
        agent.end().await;
        agent.session.terminate(GRACE).await.unwrap();
    }
    assert_eq!(
        scene.ask(&["list-sessions", "-F", "#{session_name}"]),
        "bystander"
    );
    bystander.session.terminate(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_ended_takes_no_prompt() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.shell("over", "exit 0").await;
    agent.end().await;
    let error = agent
        .session
        .prompt("x".to_owned(), true)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone);
    let error = agent
        .session
        .resize(Size { cols: 90, rows: 30 })
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone);
    assert_eq!(agent.lines().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_session_takes_the_size_given() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec(
        "size",
        &[
            "sh",
            "-c",
            "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done",
        ],
    );
    spec.size = Size {
        cols: 132,
        rows: 43,
    };
    let agent = scene.start(spec).await;
    agent.shows("43 132").await;
    agent
        .session
        .resize(Size { cols: 61, rows: 17 })
        .await
        .unwrap();
    agent.shows("17 61").await;

    // The next terminal decides again, for as long as it is attached.
    let viewer = scene.attach(&["attach-session", "-t", "=size"]).await;
    agent.shows("23 80").await;
    let error = agent
        .session
        .resize(Size { cols: 70, rows: 20 })
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    drop(viewer);
    wait_until("nobody is attached", || {
        scene.ask(&["list-clients"]).is_empty()
    })
    .await;
    agent
        .session
        .resize(Size { cols: 70, rows: 20 })
        .await
        .unwrap();
    agent.shows("20 70").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_have_the_history_and_join_wrapped_lines() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let long = "x".repeat(200);
    let agent = scene
        .shell(
            "log",
            &format!("seq 1 100; echo; echo {long}; printf 'no end'; sleep 1000"),
        )
        .await;
    agent.shows("no end").await;
    let mut expected: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
    expected.extend([String::new(), long.clone(), "no end".to_owned()]);
    assert_eq!(agent.lines().await, expected);

    let recorder = Recorder::new();
    let query = LogQuery {
        tail: Some(2),
        ..LogQuery::default()
    };
    agent.session.logs(query, recorder.log()).await.unwrap();
    let lines = recorder.recorded().lines;
    assert!(
        lines
            .iter()
            .all(|line| line.ts.is_none() && line.stream.is_none())
    );
    let lines: Vec<String> = lines.into_iter().map(|line| line.line).collect();
    assert_eq!(lines, [long, "no end".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_lines_as_they_come_and_each_once() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell(
            "follow",
            "seq 1 30; while read -r n; do seq $n $((n + 49)); done; exit 3",
        )
        .await;
    agent.shows("30").await;
    let recorder = Recorder::new();
    let query = LogQuery {
        tail: Some(5),
        follow: true,
        ..LogQuery::default()
    };
    let follow = agent.session.logs(query, recorder.log());
    let script = async {
        recorder
            .wait_for("the tail", |recorded| recorded.lines.len() >= 5)
            .await;
        for first in [31, 81] {
            agent.session.prompt(first.to_string(), true).await.unwrap();
            let last = (first + 49).to_string();
            recorder
                .wait_for("new lines", |recorded| {
                    recorded.lines.iter().any(|line| line.line == last)
                })
                .await;
        }
        scene.ask(&["send-keys", "-t", "=follow:", "C-d"]);
    };
    let (followed, ()) = tokio::join!(follow, script);
    followed.unwrap();
    assert_eq!(agent.end().await, exited(3));
    let numbers: Vec<String> = recorder
        .recorded()
        .lines
        .into_iter()
        .map(|line| line.line)
        .collect();
    // What is typed is shown too, on lines of its own.
    let mut expected: Vec<String> = (26..=30).map(|number| number.to_string()).collect();
    for first in [31, 81] {
        expected.push(first.to_string());
        expected.extend((first..first + 50).map(|number: i32| number.to_string()));
    }
    assert_eq!(numbers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_works_from_anywhere() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.start(scene.spec("agent", &["sleep", "1000"])).await;
    let command = agent.session.attach_command().unwrap();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let attached = || scene.ask(&["list-clients", "-F", "#{session_name}"]);
    let nobody = || wait_until("nobody is attached", || attached().is_empty());
    let socket = scene.ask(&["display-message", "-p", "-t", "=agent:", "#{socket_path}"]);

    // From a shell, inside another tmux server, and inside of this one.
    for tmux in [
        String::new(),
        "/nowhere/socket,1,0".to_owned(),
        format!("{socket},1,0"),
    ] {
        let viewer = scene.terminal(&command, &tmux);
        wait_until("it is attached", || attached() == "agent").await;
        drop(viewer);
        nobody().await;
    }

    // In a pane of the same server.
    let inside = [
        "new-session",
        "-d",
        "-s",
        "mine",
        "-x",
        "90",
        "-y",
        "30",
        "--",
    ];
    scene.ask(&[&inside[..], &command].concat());
    wait_until("it is attached", || attached() == "agent").await;
    scene.ask(&["detach-client", "-s", "=agent"]);
    nobody().await;
    agent.session.terminate(GRACE).await.unwrap();
}
