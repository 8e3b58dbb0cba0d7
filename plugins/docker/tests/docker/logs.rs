//! Log lines.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::testing::Recorder;
use libtest_mimic::Trial;
use serde_json::json;

use crate::trial;
use crate::world::World;

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "logs::streams_and_times", streams_and_times);
    trial(trials, "logs::tail", tail);
    trial(trials, "logs::since", since);
    trial(trials, "logs::follow", follow);
    trial(trials, "logs::long_lines", long_lines);
}

async fn streams_and_times() {
    let world = World::shared().await;
    let before = jiff::Timestamp::now();
    let agent = world.sh("echo out; echo err >&2; printf 'no end'").await;
    agent.exit().await;
    let mut lines = agent.log(LogQuery::default()).await;
    for line in &lines {
        let ts: jiff::Timestamp = line.ts.as_ref().expect("a time").parse().expect("RFC 3339");
        assert!(ts >= before && ts <= jiff::Timestamp::now(), "{ts}");
    }
    lines.sort_by(|left, right| left.line.cmp(&right.line));
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| (line.stream, line.line))
        .collect();
    let expected = [
        (Some(LogStream::Stderr), "err".to_owned()),
        (Some(LogStream::Stdout), "no end".to_owned()),
        (Some(LogStream::Stdout), "out".to_owned()),
    ];
    assert_eq!(lines, expected);
    agent.terminate().await;
}

async fn tail() {
    let world = World::shared().await;
    let agent = world.sh("for i in 1 2 3 4 5; do echo $i; done").await;
    agent.exit().await;
    let tail = async |tail| {
        let query = LogQuery {
            tail: Some(tail),
            ..LogQuery::default()
        };
        let lines = agent.log(query).await;
        lines.into_iter().map(|line| line.line).collect::<Vec<_>>()
    };
    assert_eq!(tail(2).await, ["4", "5"]);
    assert_eq!(tail(0).await, [] as [&str; 0]);
    assert_eq!(tail(100).await, ["1", "2", "3", "4", "5"]);
    agent.terminate().await;
}

/// To the millisecond, although the engine is asked for seconds.
async fn since() {
    let world = World::shared().await;
    let agent = world
        .sh("echo early; read line; echo late; read line")
        .await;
    agent.wait_for_line("early").await;
    agent
        .session
        .prompt(String::new(), true)
        .await
        .expect("Enter");
    agent.wait_for_line("late").await;
    let time = |line: &LogLine| -> jiff::Timestamp {
        line.ts.as_ref().expect("a time").parse().expect("RFC 3339")
    };
    let all = agent.log(LogQuery::default()).await;
    let late = time(&all[1]).as_millisecond();
    assert!(
        time(&all[0]).as_millisecond() < late,
        "the test's own premise"
    );
    let query = LogQuery {
        since_ms: Some(late),
        ..LogQuery::default()
    };
    assert_eq!(agent.log(query).await, all[1..]);
    agent.terminate().await;
}

async fn follow() {
    let world = World::shared().await;
    let agent = world.start(
        &["sh", "-c", "while read line; do echo \"got $line\"; done"],
        json!({}),
    );
    let agent = agent.await;
    let recorder = Recorder::new();
    let query = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let logs = agent.session.logs(query, recorder.log());
    let talk = async {
        for word in ["a", "b"] {
            agent
                .session
                .prompt(word.to_owned(), true)
                .await
                .expect("a prompt");
            let answer = format!("got {word}");
            recorder
                .wait_for(&answer, |recorded| {
                    recorded
                        .lines
                        .last()
                        .is_some_and(|line| line.line == answer)
                })
                .await;
        }
        agent.terminate().await;
    };
    let (followed, ()) = tokio::join!(logs, talk);
    followed.expect("following to the end");
}

async fn long_lines() {
    let world = World::shared().await;
    let agent = world
        .sh("head -c 100000 /dev/zero | tr '\\0' x; echo; echo after")
        .await;
    agent.exit().await;
    let lines = agent.text().await;
    assert_eq!(
        lines.len(),
        2,
        "{:?}",
        lines.iter().map(String::len).collect::<Vec<_>>()
    );
    assert_eq!(lines[0], "x".repeat(100_000));
    assert_eq!(lines[1], "after");
    agent.terminate().await;
}
