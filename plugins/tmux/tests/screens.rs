//! What panes show is reported, with their titles and bells, and costs nothing while they are quiet.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use std::fs;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::{Recorded, Recorder};
use scene::{Agent, GRACE, Scene, exited, wait_until};

/// What was reported last, if anything was.
fn last(recorded: &Recorded) -> Option<&Screen> {
    let screens = recorded.events.iter().rev();
    screens.into_iter().find_map(|event| match event {
        Event::Screen { screen } => Some(screen),
        _ => None,
    })
}

fn count(recorder: &Recorder) -> usize {
    let events = recorder.recorded().events;
    let screens = events.iter();
    screens
        .filter(|event| matches!(event, Event::Screen { .. }))
        .count()
}

async fn until(recorder: &Recorder, what: &str, is_wanted: impl Fn(&Screen) -> bool) -> Screen {
    let recorded = recorder.wait_for(what, |recorded| last(recorded).is_some_and(&is_wanted));
    last(&recorded.await).unwrap().clone()
}

fn has(line: &str) -> impl Fn(&Screen) -> bool {
    move |screen| screen.lines.iter().any(|other| other == line)
}

/// Rings whenever it reads a line.
async fn bell(scene: &Scene) -> Agent {
    let script = r"echo here; while read -r line; do sleep 1; printf '\a'; done";
    let agent = scene.shell("bell", script).await;
    until(&agent.recorder, "its first line", has("here")).await;
    agent
}

async fn until_it_rings(agent: &Agent) {
    until(&agent.recorder, "the bell", |screen| screen.bell).await;
}

async fn until_it_is_over(agent: &Agent) {
    until(&agent.recorder, "the bell's end", |screen| !screen.bell).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_the_cursor_and_the_title_are_reported() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script = r"echo one; printf 'two? '; read -r line
        printf '\033]2;a title\007\033[?1049h\033[H\033[3;5Hthere'; read -r line; exit 3";
    let agent = scene.shell("screen", script).await;
    let screen = until(&agent.recorder, "the question", has("two?")).await;
    assert_eq!(screen.lines.len(), 24);
    assert_eq!(screen.lines[..2], ["one", "two?"]);
    assert_eq!(screen.cursor, Some((5, 1)));
    // tmux's own title is the host's name, which says nothing.
    assert_eq!((&*screen.title, screen.bell), ("", false));
    agent.session.prompt("go".to_owned(), true).await.unwrap();
    let screen = until(&agent.recorder, "the other screen", has("    there")).await;
    assert_eq!(screen.lines[0], "");
    let is_titled = |screen: &Screen| screen.title == "a title";
    until(&agent.recorder, "the title", is_titled).await;
    agent.session.prompt("go".to_owned(), true).await.unwrap();
    assert_eq!(agent.end().await, exited(3));
    let events = agent.recorder.recorded().events;
    assert_eq!(events.last(), Some(&exited(3)));
    agent.session.terminate(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bell_is_reported_until_somebody_attends_to_it() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = bell(&scene).await;
    let other = scene.shell("other", "echo here; sleep 1000").await;
    until(&other.recorder, "its first line", has("here")).await;
    agent.session.prompt("ring".to_owned(), true).await.unwrap();
    until_it_rings(&agent).await;
    // tmux shows it, too, until it is answered.
    let flags = || scene.ask(&["list-windows", "-a", "-F", "#{window_bell_flag}"]);
    assert_eq!(flags(), "1\n0");
    agent
        .session
        .prompt("ring".to_owned(), false)
        .await
        .unwrap();
    until_it_is_over(&agent).await;
    assert_eq!(flags(), "0\n0");
    agent.session.prompt(String::new(), true).await.unwrap();
    until_it_rings(&agent).await;
    // Whoever attaches sees it.
    let session = agent.session.attach_command().unwrap();
    let attach = ["attach-session", "-t", session.last().unwrap()];
    drop(scene.attach(&attach).await);
    until_it_is_over(&agent).await;
    assert!(!last(&other.recorder.recorded()).unwrap().bell);
    for agent in [agent, other] {
        agent.session.terminate(GRACE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_rung_and_prints_on_has_not_rung_any_more_and_can_ring_again() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script = r"printf '\a'; until [ -e stop ]; do echo on; sleep 0.1; done
        until [ -e ring ]; do sleep 0.1; done; printf '\a'; sleep 1000";
    let agent = scene.shell("on", script).await;
    until_it_rings(&agent).await;
    until_it_is_over(&agent).await;
    fs::write(scene.path("stop"), "").unwrap();
    fs::write(scene.path("ring"), "").unwrap();
    until_it_rings(&agent).await;
    agent.session.terminate(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_daemon_sees_what_is_there() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let agent = bell(&scene).await;
    agent.session.prompt("ring".to_owned(), true).await.unwrap();
    until_it_rings(&agent).await;
    let id = agent.spec.id.clone();
    drop(agent);
    let later = scene.connect(&scene::instance()).await;
    let recorder = Recorder::new();
    let session = later.adopt(id, recorder.events()).await.unwrap();
    let rings = |screen: &Screen| screen.bell && has("here")(screen);
    until(&recorder, "its screen", rings).await;
    session.prompt("ring".to_owned(), true).await.unwrap();
    until(&recorder, "its end", |screen| !screen.bell).await;
    until(&recorder, "the next one", |screen| screen.bell).await;
    session.terminate(GRACE).await.unwrap();
    drop(session);
    recorder.released().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_by_way_of_the_own_terminal_is_seen() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script =
        "echo here; until [ -e go ]; do sleep 0.1; done; printf 'hidden? ' >/dev/tty; sleep 1000";
    let agent = scene.shell("hidden", script).await;
    until(&agent.recorder, "its first line", has("here")).await;
    fs::write(scene.path("go"), "").unwrap();
    until(&agent.recorder, "the question", has("hidden?")).await;
    agent.session.terminate(GRACE).await.unwrap();
}

/// Fault: of the agents that print at the same time, one is gone when tmux is asked. Then: the others are
/// seen all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_gone_hides_no_other() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script =
        "n=0; until [ -e stop ]; do n=$((n + 1)); echo $n; sleep 0.05; done; echo last; sleep 1000";
    let mut agents = Vec::new();
    for name in ["one", "two", "three"] {
        let agent = scene.shell(name, script).await;
        until(&agent.recorder, "its first lines", |screen| {
            !screen.lines[0].is_empty()
        })
        .await;
        agents.push(agent);
    }
    let gone = agents.remove(0);
    scene.ask(&["kill-session", "-t", "=one"]);
    gone.end().await;
    let counts: Vec<usize> = agents.iter().map(|agent| count(&agent.recorder)).collect();
    for (agent, before) in agents.iter().zip(counts) {
        let goes_on = || count(&agent.recorder) > before + 2;
        wait_until("the others are looked at", goes_on).await;
    }
    fs::write(scene.path("stop"), "").unwrap();
    for agent in agents {
        until(&agent.recorder, "its last line", has("last")).await;
        agent.session.terminate(GRACE).await.unwrap();
    }
}

/// Fault: an agent floods. Then: what it shows is reported a few times a second, and so is what a quiet
/// one shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_looked_at_now_and_then() {
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let flood = scene.shell("flood", "yes 2>/dev/null").await;
    until(&flood.recorder, "the flood", has("y")).await;
    let begun = tokio::time::Instant::now();
    let before = count(&flood.recorder);
    // The same is on its screen each time, and is reported: it prints on.
    wait_until("it prints on", || count(&flood.recorder) >= before + 4).await;
    let quiet = scene
        .shell("quiet", "echo here; read -r line; echo there; read -r line")
        .await;
    until(&quiet.recorder, "its first line", has("here")).await;
    quiet.session.prompt("go".to_owned(), true).await.unwrap();
    until(&quiet.recorder, "its next line", has("there")).await;
    // So many there can be at most, however long that took.
    let most = begun.elapsed().as_millis() / 500 + 2;
    assert!((count(&flood.recorder) - before) as u128 <= most);
    for agent in [flood, quiet] {
        agent.session.terminate(GRACE).await.unwrap();
    }
}
