//! Under configurations that work against us, and with nothing of them changed.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use agentd_plugin_api::prelude::*;
use scene::{GRACE, LINGER, Scene, exited, layout};

const HOSTILE: &str = "
set -g destroy-unattached on
set -g detach-on-destroy off
set -g remain-on-exit off
set -g base-index 1
set -g pane-base-index 1
set -g renumber-windows on
set -g automatic-rename on
set -g allow-rename on
set -g window-size smallest
set -g default-size 33x7
set -g default-command 'exec /bin/false'
set -g default-shell /bin/false
set -g synchronize-panes on
set -g update-environment '*'
set -g remain-on-exit-format 'gone!'
set -g status-position top
set-hook -g after-new-session 'split-window -b -d \"sleep 500\"; rename-window mine'
set-hook -g session-created 'set -g @created yes'
set-hook -g after-new-window 'run-shell \"sleep 0.5\"; split-window -b \"sleep 500\"'
set-hook -g after-split-window 'run-shell \"sleep 0.2\"; swap-pane -U'
set-hook -g after-set-option 'display-message changed'
set-hook -g window-linked 'rename-window linked'
set-hook -g pane-died 'respawn-pane'
";

/// Attack: the user's configuration of tmux has hooks, aliases and defaults that would catch an agent.
/// Then: nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_configuration_changes_nothing() {
    let Some(scene) = Scene::configured(HOSTILE).await else {
        return;
    };
    let global = || {
        ["-s", "-g", "-gw"]
            .map(|scope| scene.ask(&["show-options", scope]))
            .join("\n")
            + &scene.ask(&["show-hooks", "-g"])
            + &scene.ask(&["show-environment", "-g"])
    };
    let keys = scene.ask(&["list-keys"]);
    scene.ask(&["set", "-g", "@created", "yes"]);
    let before = global();

    let mut spec = scene.spec(
        "agent",
        &[
            "sh",
            "-c",
            &format!("stty size; read -r line; echo \"got $line\"; {LINGER}; exit 6"),
        ],
    );
    spec.size = Size {
        cols: 101,
        rows: 31,
    };
    let agent = scene.start(spec).await;
    let listed = scene.ask(&[
        "list-panes",
        "-s",
        "-t",
        "=agent:",
        "-F",
        "#{pane_pid} #{window_index}",
    ]);
    assert_eq!(listed, format!("{} 1", agent.pid()));
    agent.shows("31 101").await;
    agent
        .session
        .resize(Size { cols: 90, rows: 20 })
        .await
        .unwrap();
    let size = scene.ask(&[
        "display-message",
        "-p",
        "-t",
        "=agent:",
        "#{pane_width}x#{pane_height}",
    ]);
    assert_eq!(size, "90x20");
    agent
        .session
        .prompt("hello".to_owned(), true)
        .await
        .unwrap();
    assert_eq!(agent.end().await, exited(6));
    assert_eq!(agent.lines().await, ["31 101", "hello", "got hello"]);
    agent.session.terminate(GRACE).await.unwrap();

    assert_eq!(global(), before);
    assert_eq!(scene.ask(&["list-keys"]), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_at_once_is_not_missed() {
    let Some(scene) = Scene::configured(HOSTILE).await else {
        return;
    };
    for number in 0..5 {
        let agent = scene.shell(&format!("quick-{number}"), "exit 9").await;
        assert_eq!(agent.end().await, exited(9));
        agent.session.terminate(GRACE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_are_exact_under_hooks() {
    let Some(scene) = Scene::configured(HOSTILE).await else {
        return;
    };
    let mut spec = scene.spec("agent", &["sleep", "1000"]);
    spec.options = layout("horizontal", 3);
    spec.env.insert("SHELL".to_owned(), "/bin/sh".to_owned());
    let agent = scene.start(spec).await;
    let listed = scene.ask(&["list-panes", "-t", "=agent:", "-F", "#{pane_pid}"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert_eq!(
        listed.lines().next(),
        Some(agent.pid().to_string().as_str())
    );
    // The user's own windows follow the user's own configuration again.
    let options = scene.ask(&["show-options", "-t", "=agent:"]);
    let ours = |option: &str| options.contains(option);
    assert!(
        !ours("default-shell") && !ours("default-command"),
        "{options}"
    );
    assert_eq!(scene.ask(&["show-hooks", "-t", "=agent:"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_agents_pane_remains_on_exit() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = scene.start(scene.spec("agent", &["sleep", "1000"])).await;
    scene.ask(&["split-window", "-t", "=agent:", "true"]);
    scene::wait_until("the other pane is gone", || {
        scene.ask(&["list-panes", "-t", "=agent:", "-F", "#{pane_pid}"]) == agent.pid().to_string()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_with_its_last_viewer_is_refused() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let _viewer = scene.attach(&["new-session", "-s", "viewer"]).await;
    scene.ask(&["set-option", "-s", "exit-unattached", "on"]);
    let error = scene
        .try_start(scene.spec("x", &["sleep", "1000"]))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.hint.unwrap().contains("exit-unattached"));
    assert_eq!(
        scene.ask(&["list-sessions", "-F", "#{session_name}"]),
        "viewer"
    );
}
