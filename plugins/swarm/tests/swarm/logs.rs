//! Log lines.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::{Recorded, Recorder};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::timeout;

use crate::trial;
use crate::world::{Workspace, World};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(
        trials,
        "logs::lines_with_time_and_stream",
        lines_with_time_and_stream,
    );
    trial(trials, "logs::followed_to_the_end", followed_to_the_end);
    trial(
        trials,
        "logs::followed_while_it_is_ended",
        followed_while_it_is_ended,
    );
    trial(trials, "logs::of_what_never_ran", of_what_never_ran);
    trial(
        trials,
        "logs::a_follower_that_leaves",
        a_follower_that_leaves,
    );
}

async fn lines_with_time_and_stream() {
    let world = World::shared().await;
    let agent = world
        .sh("echo one; sleep 0.2; echo two >&2; sleep 1.2; echo three; echo; exec sleep 600")
        .await;
    agent.wait_for_line("").await;
    let all = agent.log(LogQuery::default()).await;
    let found: Vec<_> = all
        .iter()
        .map(|line| (line.stream.expect("a stream"), line.line.as_str()))
        .collect();
    let (stdout, stderr) = (LogStream::Stdout, LogStream::Stderr);
    let expected = [
        (stdout, "one"),
        (stderr, "two"),
        (stdout, "three"),
        (stdout, ""),
    ];
    assert_eq!(found, expected);

    let tail = LogQuery {
        tail: Some(2),
        ..LogQuery::default()
    };
    assert_eq!(agent.log(tail).await, all[2..]);
    let ts = all[2].ts.as_deref().expect("a time");
    let since = LogQuery {
        since_ms: Some(milliseconds(ts)),
        ..LogQuery::default()
    };
    assert_eq!(agent.log(since).await, all[2..]);
    agent.terminate().await;
}

/// Each line once and none missing, over the moment at which the task ends.
async fn followed_to_the_end() {
    let world = World::shared().await;
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); \
                  [ $((i % 100)) = 0 ] && sleep 0.7; done; echo error >&2";
    let agent = world.sh(script).await;
    let query = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let lines = agent.log(query).await;
    assert_eq!(agent.exit().await, ExitStatus::code(0));
    let stdout: Vec<String> = lines
        .iter()
        .filter(|line| line.stream == Some(LogStream::Stdout))
        .map(|line| line.line.clone())
        .collect();
    let expected: Vec<String> = (0..300).map(|i| format!("line {i}")).collect();
    assert_eq!(stdout, expected);
    assert_eq!(lines.len(), 301);
    agent.terminate().await;
}

/// What an agent says when it is ended is read before it goes.
async fn followed_while_it_is_ended() {
    let world = World::shared().await;
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.1; done";
    let agent = world.sh(script).await;
    agent.wait_for_line("ready").await;
    let recorder = Recorder::new();
    let query = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let follow = agent.session.logs(query, recorder.log());
    let end = async {
        let has_line = |recorded: &Recorded| !recorded.lines.is_empty();
        recorder.wait_for("a line", has_line).await;
        agent.terminate().await;
    };
    let (followed, ()) = tokio::join!(follow, end);
    followed.expect("a log");
    let lines = recorder.recorded().lines;
    let text: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
    assert_eq!(text, ["ready", "bye"]);
}

async fn of_what_never_ran() {
    let world = World::shared().await;
    let options = json!({"image": "agentd-test:absent"});
    let agent = world.start(&["true"], options).await;
    let status = agent.exit().await;
    assert_eq!(
        status.reason.as_deref(),
        Some("task-rejected"),
        "{status:?}"
    );
    let lines = agent.log(LogQuery::default()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].line.contains("No such image"), "{lines:?}");
    agent.terminate().await;
}

async fn a_follower_that_leaves() {
    let world = World::shared().await;
    let workspace = Workspace::new();
    let spec = workspace.spec(&["sh", "-c", "echo here; exec sleep 600"], json!({}));
    let agent = world.start_spec(spec, workspace).await.expect("starting");
    let recorder = Recorder::new();
    let query = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let follow = agent.session.logs(query, recorder.log());
    let seen = recorder.wait_for("a line", |recorded| !recorded.lines.is_empty());
    tokio::select! {
        followed = follow => panic!("it goes on: {followed:?}"),
        _ = seen => {}
    }
    let released = timeout(Duration::from_secs(20), recorder.released()).await;
    released.expect("the follower's end");
    agent.terminate().await;
}

fn milliseconds(ts: &str) -> i64 {
    let ts: jiff::Timestamp = ts.parse().expect("a time");
    ts.as_millisecond()
}
