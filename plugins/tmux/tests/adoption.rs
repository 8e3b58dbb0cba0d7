//! Sessions outlive the daemon; the server may not outlive them; other people's are none of ours.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use scene::{Agent, GRACE, LINGER, Scene, exited, instance, runs, wait_until};

async fn lost(agent: &Agent) -> String {
    match agent.end().await {
        Event::Lost { reason } => reason,
        other => panic!("not lost: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_adopted_with_their_label() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut spec = scene.spec(
        "survivor",
        &[
            "sh",
            "-c",
            &format!("read -r line; echo \"got $line\"; {LINGER}; exit 3"),
        ],
    );
    spec.label = "{\"name\": \"ü\n#{pid} x\"}".to_owned();
    let agent = scene.start(spec.clone()).await;
    let pid = agent.pid();
    drop(agent);

    let daemon = scene.connect(&instance()).await;
    let found = daemon.list().await.unwrap();
    assert_eq!(
        found,
        [Found {
            id: spec.id.clone(),
            label: spec.label.clone()
        }]
    );
    let recorder = Recorder::new();
    let session = daemon
        .adopt(spec.id.clone(), recorder.events())
        .await
        .unwrap();
    let agent = Agent {
        session,
        recorder,
        spec,
    };
    assert_eq!(agent.pid(), pid);
    agent
        .session
        .prompt("hello".to_owned(), true)
        .await
        .unwrap();
    assert_eq!(agent.end().await, exited(3));
    assert!(agent.lines().await.contains(&"got hello".to_owned()));
    agent.session.terminate(GRACE).await.unwrap();
    assert_eq!(daemon.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_no_daemon_ran_is_reported() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let spec = scene.spec("ended", &["sh", "-c", "read -r line; exit 4"]);
    let agent = scene.start(spec.clone()).await;
    let pid = agent.pid();
    drop(agent);
    scene.ask(&["send-keys", "-t", "=ended:", "Enter"]);
    wait_until("it has ended", || !runs(pid)).await;

    let daemon = scene.connect(&instance()).await;
    let recorder = Recorder::new();
    let session = daemon
        .adopt(spec.id.clone(), recorder.events())
        .await
        .unwrap();
    let agent = Agent {
        session,
        recorder,
        spec,
    };
    assert_eq!(agent.end().await, exited(4));
    agent.session.terminate(GRACE).await.unwrap();
    assert_eq!(scene.ask(&["list-sessions"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_is_not_listed() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    scene.ask(&["new-session", "-d", "-s", "theirs", "sleep 1000"]);
    let mine = scene.start(scene.spec("mine", &["sleep", "1000"])).await;
    // A second session on the same windows, as people make to look on.
    scene.ask(&["new-session", "-d", "-s", "group", "-t", "=mine"]);
    let other = scene.connect("another instance").await;
    assert_eq!(other.list().await.unwrap(), []);
    let error = other
        .adopt(mine.spec.id.clone(), Recorder::new().events())
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, ErrorKind::Gone);
    assert_eq!(scene.backend.list().await.unwrap().len(), 1);
    mine.session.terminate(GRACE).await.unwrap();
    let left = scene.ask(&["list-sessions", "-F", "#{session_name}"]);
    assert!(left.contains("theirs"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_where_tmux_never_ran_has_no_sessions() {
    let Some(scene) = Scene::without_server().await else {
        return;
    };
    assert_eq!(scene.backend.list().await.unwrap(), []);
}

/// Fault: the tmux server is killed. Then: its agents are lost and ended, and new ones start.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_noticed() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let polite = scene.start(scene.spec("polite", &["sleep", "1000"])).await;
    let deaf = scene
        .shell("deaf", "trap '' HUP; while :; do sleep 0.1; done")
        .await;
    let server = scene.ask(&["display-message", "-p", "-t", "=deaf:", "#{pid}"]);
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &server])
            .status()
            .unwrap()
            .success()
    );
    for agent in [&polite, &deaf] {
        assert_eq!(lost(agent).await, "the tmux server ended");
        assert!(!runs(agent.pid()));
        let error = agent
            .session
            .prompt("x".to_owned(), false)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Gone);
        agent.session.terminate(GRACE).await.unwrap();
    }
    // A new server gives the same numbers again; they are not ours.
    scene.ask(&["new-session", "-d", "-s", "theirs", "sleep 1000"]);
    scene.ask(&["new-session", "-d", "-s", "theirs-too", "sleep 1000"]);
    polite.session.terminate(GRACE).await.unwrap();
    let recorder = Recorder::new();
    let error = polite
        .session
        .logs(LogQuery::default(), recorder.log())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone);
    assert_eq!(scene.ask(&["list-sessions"]).lines().count(), 2);
    // And agents can be started again.
    let again = scene.start(scene.spec("again", &["sleep", "1000"])).await;
    again.session.terminate(GRACE).await.unwrap();
}

/// Fault: `tmux kill-server`. Then: the agent is lost, with that reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_ended_is_noticed() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.start(scene.spec("agent", &["sleep", "1000"])).await;
    scene.ask(&["kill-server"]);
    assert_eq!(lost(&agent).await, "the tmux server ended");
}

/// Fault: somebody closes an agent's tmux session. Then: it can be ended, and is lost with that reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_somebody_closes_is_lost() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene
        .shell("closed", "trap '' HUP; while :; do sleep 0.1; done")
        .await;
    scene.ask(&["kill-session", "-t", "=closed"]);
    // The agent does not care. That its pane is gone is noticed when it ends.
    agent
        .session
        .terminate(Duration::from_millis(400))
        .await
        .unwrap();
    assert_eq!(lost(&agent).await, "the agent's tmux pane was closed");
    assert!(!runs(agent.pid()));
}

/// Fault: somebody starts another program in the agent's pane. Then: the agent is lost, with that reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_pane_with_another_program_is_not_the_agent() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.start(scene.spec("agent", &["sleep", "1000"])).await;
    scene.ask(&["respawn-pane", "-k", "-t", "=agent:", "sleep 1000"]);
    assert_eq!(
        lost(&agent).await,
        "another program was started in the agent's tmux pane"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tmux_must_be_there_and_its_socket_a_name() {
    let config = Config {
        settings: [("AGENTD_TMUX_SOCKET".to_owned(), "/tmp/x".to_owned())].into(),
        ..Config::default()
    };
    let error = agentd_backend_tmux::Tmux::connect(agentd_plugin_api::testing::host(), config)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);

    for (path, message) in [
        ("/nowhere", "`tmux` is not on $PATH"),
        ("old", "tmux 3.1c, which is too old"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let tmux = directory.path().join("tmux");
        let path = if path == "old" {
            std::fs::write(&tmux, "#!/bin/sh\necho tmux 3.1c\n").unwrap();
            std::fs::set_permissions(&tmux, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            directory.path().to_str().unwrap().to_owned()
        } else {
            path.to_owned()
        };
        // A test cannot change its own environment; see `connects` below.
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "connects", "--nocapture"])
            .env("PATH", path)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains(message), "{printed}");
        assert!(printed.contains("hint: install tmux 3.3"), "{printed}");
    }
}

#[tokio::test]
#[ignore = "run by tmux_must_be_there_and_its_socket_a_name, with its $PATH"]
async fn connects() {
    let error =
        agentd_backend_tmux::Tmux::connect(agentd_plugin_api::testing::host(), Config::default())
            .await
            .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    println!("{error}\nhint: {}", error.hint.as_deref().unwrap());
}
