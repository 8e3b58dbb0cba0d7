//! What following a log costs, and that nothing of it is left.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod scene;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use scene::{Agent, GRACE, Scene, wait_until};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

/// Longer than any pane that is looked at again and again is left alone.
const QUIET: Duration = Duration::from_secs(1);

/// The tests count what this process does.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// A measure of the processes that this one has started and that have ended: their page faults,
/// which each of them has.
fn faults_of_children() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(8).unwrap().parse().unwrap()
}

/// Waits until no process is started for a while.
async fn until_nothing_is_started() {
    for _ in 0..20 {
        let before = faults_of_children();
        tokio::time::sleep(QUIET).await;
        if faults_of_children() == before {
            return;
        }
    }
    panic!("processes are started again and again");
}

/// How many inotify instances this process has.
fn inotify_instances() -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target == Path::new("anon_inode:inotify"))
        .count()
}

/// Somebody who follows, each in a task that can be aborted.
fn follow(
    followers: &mut JoinSet<Result<()>>,
    agent: &Arc<Agent>,
    tail: Option<u64>,
) -> Arc<Recorder> {
    let query = LogQuery {
        tail,
        follow: true,
        ..LogQuery::default()
    };
    let (agent, recorder) = (agent.clone(), Recorder::new());
    let sink = recorder.log();
    followers.spawn(async move { agent.session.logs(query, sink).await });
    recorder
}

async fn until_line(recorder: &Recorder, line: &str) {
    recorder
        .wait_for(line, |recorded| {
            recorded.lines.iter().any(|other| other.line == line)
        })
        .await;
}

fn lines(recorder: &Recorder) -> Vec<String> {
    let lines = recorder.recorded().lines;
    lines.into_iter().map(|line| line.line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_pane_costs_its_followers_nothing_and_nothing_is_left_of_them() {
    let _alone = alone().await;
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        agents.push(Arc::new(scene.shell(name, "echo here; sleep 1000").await));
    }
    let mut followers = JoinSet::new();
    for _ in 0..5 {
        for agent in &agents {
            let recorder = follow(&mut followers, agent, None);
            until_line(&recorder, "here").await;
        }
    }
    until_nothing_is_started().await;
    assert_eq!(inotify_instances(), 1);
    // Nobody is attached, and the user's own pipe is free.
    let format = "#{session_attached} #{pane_pipe}";
    assert_eq!(scene.ask(&["list-panes", "-a", "-F", format]), "0 0\n0 0");
    followers.shutdown().await;
    until_nothing_is_started().await;
    for agent in agents {
        agent.session.terminate(GRACE).await.unwrap();
    }
    wait_until("nothing is watched any more", || inotify_instances() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_share_a_pane_and_each_gets_every_line_once() {
    let _alone = alone().await;
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script = "seq 1 10; while read -r n; do seq $n $((n + 9)); done";
    let agent = Arc::new(scene.shell("shared", script).await);
    let mut followers = JoinSet::new();
    let first = follow(&mut followers, &agent, None);
    until_line(&first, "10").await;
    let gone = follow(&mut followers, &agent, Some(1));
    until_line(&gone, "10").await;
    agent.session.prompt("11".to_owned(), true).await.unwrap();
    until_line(&first, "20").await;
    // One that comes later gets the end of what is there, and then the same.
    let late = follow(&mut followers, &agent, Some(3));
    until_line(&late, "20").await;
    agent.session.prompt("21".to_owned(), true).await.unwrap();
    until_line(&first, "30").await;
    until_line(&late, "30").await;
    agent.session.terminate(GRACE).await.unwrap();
    while let Some(ended) = followers.join_next().await {
        ended.unwrap().unwrap();
    }
    let numbers =
        |range: std::ops::RangeInclusive<u32>| range.map(|number: u32| number.to_string());
    let typed = |number: &str| [number.to_owned()];
    let all: Vec<String> = numbers(1..=10)
        .chain(typed("11"))
        .chain(numbers(11..=20))
        .chain(typed("21"))
        .chain(numbers(21..=30))
        .collect();
    assert_eq!(lines(&first), all);
    assert_eq!(lines(&gone), all[9..]);
    assert_eq!(lines(&late), all[18..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_what_is_typed_and_what_is_written_past_the_standard_output() {
    let _alone = alone().await;
    let Some(scene) = Scene::plain().await else {
        return;
    };
    let script = "echo here; read -r line; until [ -e go ]; do sleep 0.1; done; \
                  echo hidden >/dev/tty; sleep 1000";
    let agent = Arc::new(scene.shell("quiet", script).await);
    let mut followers = JoinSet::new();
    let recorder = follow(&mut followers, &agent, None);
    until_line(&recorder, "here").await;
    until_nothing_is_started().await;
    // The program only reads it; the terminal shows it.
    agent
        .session
        .prompt("typed".to_owned(), true)
        .await
        .unwrap();
    until_line(&recorder, "typed").await;
    until_nothing_is_started().await;
    fs::write(scene.path("go"), "").unwrap();
    until_line(&recorder, "hidden").await;
    followers.shutdown().await;
    agent.session.terminate(GRACE).await.unwrap();
}
