//! What is left of sessions that have ended: their exits, their logs and their last screens.

use std::fs;

use agentd_api::{Agent, AgentStatus, Page, PastSession};
use agentd_host::testing::{
    Answer, RunningProgram, TestBackend, TestProgram, eventually, leave_out,
};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use warp::http::Method;

use crate::program::program;

async fn create(daemon: &RunningProgram, script: &str) -> Agent {
    let body = daemon.new_session("demo", &["sh", "-c", script]);
    daemon.create(&body).await.expect(201).parse()
}

async fn ask(daemon: &RunningProgram, agent: &Agent, what: &str) -> Answer {
    let path = format!("/agents/{}/{what}", agent.id);
    daemon.request(Method::POST, &path).await
}

/// The lines of a log; `query` such as `?session=previous`.
async fn lines(daemon: &RunningProgram, agent: &Agent, query: &str) -> Vec<String> {
    let path = format!("/agents/{}/logs{query}", agent.id);
    let log = daemon.get(&path).await.expect(200);
    let line = |json| {
        let line: Value = serde_json::from_str(json).unwrap();
        line["line"].as_str().unwrap().to_owned()
    };
    log.body.lines().map(line).collect()
}

async fn until_written(daemon: &RunningProgram, agent: &Agent, line: &str) {
    eventually(line, async || {
        let lines = lines(daemon, agent, "").await;
        lines.iter().any(|seen| seen == line).then_some(())
    })
    .await;
}

async fn until(daemon: &RunningProgram, agent: &Agent, status: AgentStatus) {
    eventually(status.as_str(), async || {
        let agent: Agent = daemon.get(&format!("/agents/{}", agent.id)).await.parse();
        (agent.status == status).then_some(())
    })
    .await;
}

/// The sessions that have ended, once there are so many.
async fn past(daemon: &RunningProgram, agent: &Agent, count: u64) -> Vec<PastSession> {
    let path = format!("/agents/{}/sessions", agent.id);
    eventually("the sessions that have ended", async || {
        let page: Page<PastSession> = daemon.get(&path).await.expect(200).parse();
        assert_eq!(page.total, page.items.len() as u64);
        (page.total == count).then_some(page.items)
    })
    .await
}

/// Ends a service, and starts another on the same state directory.
async fn again(mut daemon: RunningProgram, signal: Signal, next: TestProgram) -> RunningProgram {
    daemon.signal(signal);
    daemon.ended().await;
    next.start_after(daemon)
}

/// How many sessions have output in the database of a service, and how many bytes. A running one
/// lets nobody else open it, so that is a copy.
fn kept(daemon: &RunningProgram) -> (i64, i64) {
    let copy = tempfile::tempdir().unwrap();
    for file in ["orchestrator.db", "orchestrator.db-wal"] {
        // One that has ended leaves no log.
        let _ = fs::copy(daemon.state_dir().join(file), copy.path().join(file));
    }
    let database = Connection::open(copy.path().join("orchestrator.db")).unwrap();
    let number = |query| database.query_row(query, [], |row| row.get(0)).unwrap();
    (
        number("SELECT count(*) FROM outputs"),
        number("SELECT total FROM output_bytes"),
    )
}

/// Prints the number of the run, and a last line when it is asked to end. It stays for a moment
/// after that: tmux 3.3a may lose what comes right before the end.
const SCRIPT: &str = "exec 2>/dev/null
    trap 'trap \"\" HUP TERM INT; echo bye; sleep 0.5; exit 0' HUP TERM INT
    n=$(cat runs); n=$((n + 1)); echo $n > runs
    echo run $n; while :; do sleep 0.05; done";

#[tokio::test]
async fn on_pty_what_ended_sessions_wrote_stays_readable() {
    stays_readable(&TestBackend::pty()).await;
}

#[tokio::test]
async fn on_tmux_what_ended_sessions_wrote_stays_readable() {
    match TestBackend::tmux() {
        Ok(backend) => stays_readable(&backend).await,
        Err(missing) => leave_out(&missing),
    }
}

#[tokio::test]
async fn on_docker_what_ended_sessions_wrote_stays_readable() {
    match TestBackend::docker() {
        Ok(backend) => stays_readable(&backend).await,
        Err(missing) => leave_out(&missing),
    }
}

async fn stays_readable(backend: &TestBackend) {
    let service = || backend.configure(program());
    let daemon = service().start();
    backend.give(daemon.work_dir());
    let agent = create(&daemon, SCRIPT).await;
    until_written(&daemon, &agent, "run 1").await;
    let no_earlier = format!("/agents/{}/logs?session=previous", agent.id);
    daemon.get(&no_earlier).await.problem(404, "gone");
    ask(&daemon, &agent, "restart").await.expect(200);
    let first = past(&daemon, &agent, 1).await.remove(0);
    let of_first = format!("?session={}", first.id);
    eventually("the log of the first session", async || {
        let path = format!("/agents/{}/logs{of_first}", agent.id);
        (daemon.get(&path).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(lines(&daemon, &agent, &of_first).await, ["run 1", "bye"]);
    assert_eq!(
        lines(&daemon, &agent, "?session=previous").await,
        ["run 1", "bye"]
    );
    assert_eq!(
        lines(&daemon, &agent, &format!("{of_first}&tail=1")).await,
        ["bye"]
    );
    until_written(&daemon, &agent, "run 2").await;

    ask(&daemon, &agent, "stop").await.expect(200);
    assert_eq!(lines(&daemon, &agent, "").await, ["run 2", "bye"]);
    assert_eq!(
        lines(&daemon, &agent, "?follow=true").await,
        ["run 2", "bye"]
    );
    assert_eq!(
        lines(&daemon, &agent, "?session=previous").await,
        ["run 1", "bye"]
    );
    ask(&daemon, &agent, "restart").await.expect(200);
    until_written(&daemon, &agent, "run 3").await;

    // It ends with the service.
    let daemon = again(daemon, Signal::TERM, service()).await;
    assert_eq!(lines(&daemon, &agent, "").await, ["run 3", "bye"]);
    assert_eq!(
        lines(&daemon, &agent, "?session=previous").await,
        ["run 2", "bye"]
    );
    assert_eq!(lines(&daemon, &agent, &of_first).await, ["run 1", "bye"]);
    let exits = past(&daemon, &agent, 3).await;
    assert!(exits.iter().all(|past| past.exit.is_some()), "{exits:?}");

    daemon
        .delete(&format!("/agents/{}", agent.id))
        .await
        .expect(204);
    daemon.get(&no_earlier).await.problem(404, "not-found");
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    assert_eq!(kept(&daemon), (0, 0));
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_kept_over_a_kill() {
    for backend in [Ok(TestBackend::pty()), TestBackend::tmux()] {
        let backend = match backend {
            Ok(backend) => backend,
            Err(missing) => return leave_out(&missing),
        };
        let service = || backend.configure(program());
        let daemon = service().start();
        let agent = create(&daemon, "echo hello; sleep 0.5; exit 7").await;
        until(&daemon, &agent, AgentStatus::Failed).await;
        let id = past(&daemon, &agent, 1).await[0].id.clone();
        let query = format!("?session={id}");
        let mut daemon = daemon;
        // Its log is asked for until it is on the disk.
        eventually("what it wrote", async || {
            let lines = lines(&daemon, &agent, &query).await;
            let (count, _) = kept(&daemon);
            (lines == ["hello"] && count == 1).then_some(())
        })
        .await;
        daemon = again(daemon, Signal::KILL, service()).await;
        assert_eq!(lines(&daemon, &agent, &query).await, ["hello"]);
        assert_eq!(lines(&daemon, &agent, "").await, ["hello"]);
        let exit = past(&daemon, &agent, 1).await[0].exit.clone().unwrap();
        assert_eq!(exit.code, Some(7));
        daemon
            .delete(&format!("/agents/{}", agent.id))
            .await
            .expect(204);
    }
}

#[tokio::test]
async fn what_ended_while_the_service_was_away_is_kept_when_it_is_back() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let service = || backend.configure(program());
    let daemon = service().start();
    let script = "while [ ! -e go ]; do sleep 0.05; done; echo done; sleep 0.5; exit 5";
    let agent = create(&daemon, script).await;
    let mut daemon = daemon;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    fs::write(daemon.work_dir().join("go"), "").unwrap();
    let daemon = service().start_after(daemon);
    until(&daemon, &agent, AgentStatus::Failed).await;
    assert_eq!(lines(&daemon, &agent, "").await, ["done"]);
    ask(&daemon, &agent, "restart").await.expect(200);
    assert_eq!(lines(&daemon, &agent, "?session=previous").await, ["done"]);
}

#[tokio::test]
async fn a_terminal_shows_the_last_screen_after_the_service_was_started_anew() {
    let daemon = program().start();
    let body = daemon.new_session(
        "demo",
        &["sh", "-c", "printf 'one\\r\\n\\033[31mtwo'; exit 3"],
    );
    let agent: Agent = daemon.create(&body).await.expect(201).parse();
    until(&daemon, &agent, AgentStatus::Failed).await;
    let path = format!("/agents/{}/terminal", agent.id);
    let bearer = daemon.bearer();
    let headers = [("authorization", bearer.as_str())];
    let mut live = daemon.terminal(&path, &headers).await.unwrap();
    let before = live.hello().await;
    assert_eq!(live.closed().await, 4000);
    let daemon = again(daemon, Signal::TERM, program()).await;
    let bearer = daemon.bearer();
    let headers = [("authorization", bearer.as_str())];
    let mut kept = daemon.terminal(&path, &headers).await.unwrap();
    let after = kept.hello().await;
    assert_eq!(
        (&after.session, &after.epoch, after.seq),
        (&before.session, &before.epoch, before.seq)
    );
    assert_eq!(kept.closed().await, 4000);
    assert_eq!(kept.exit(), (Some(3), None));
    assert_eq!((&kept.shown, kept.size), (&live.shown, live.size));
}

#[tokio::test]
async fn a_terminal_shows_the_last_screen_of_an_earlier_session() {
    let daemon = program().start();
    let script = "n=$(cat runs); n=$((n + 1)); echo $n > runs; echo run $n; exit $n";
    let agent = create(&daemon, script).await;
    past(&daemon, &agent, 1).await;
    ask(&daemon, &agent, "restart").await.expect(200);
    let sessions = past(&daemon, &agent, 2).await;
    let first = format!("?session={}", sessions[0].id);
    // The screen is on the disk soon after the end.
    eventually("the first screen", async || {
        let shown = shown(&daemon, &agent, &first).await;
        shown.is_ok().then_some(())
    })
    .await;
    let check = async |daemon: &RunningProgram| {
        for (query, code) in [
            (first.as_str(), 1),
            ("?session=previous", 1),
            ("?session=previous&mode=rw", 1),
            (&format!("?session={}", sessions[1].id), 2),
            ("", 2),
        ] {
            let (text, exit) = shown(daemon, &agent, query).await.unwrap();
            assert!(text.contains(&format!("run {code}")), "{query}: {text}");
            assert_eq!(exit, (Some(code), None), "{query}");
            let path = format!("/agents/{}/screen{query}", agent.id);
            let screen = daemon.get(&path).await.expect(200).json();
            let text = screen["text"].as_str().unwrap();
            assert!(
                text.trim_end().ends_with(&format!("run {code}")),
                "{query}: {text}"
            );
        }
        let refused = shown(daemon, &agent, "?session=nonsense").await;
        assert_eq!(refused.unwrap_err(), 404);
    };
    check(&daemon).await;
    let daemon = again(daemon, Signal::TERM, program()).await;
    check(&daemon).await;
}

/// What a terminal shows of a session that has ended, and how that ended; or the refusal.
async fn shown(
    daemon: &RunningProgram,
    agent: &Agent,
    query: &str,
) -> Result<(String, (Option<i32>, Option<i32>)), u16> {
    let path = format!("/agents/{}/terminal{query}", agent.id);
    let bearer = daemon.bearer();
    let headers = [("authorization", bearer.as_str())];
    let mut terminal = daemon.terminal(&path, &headers).await?;
    terminal.hello().await;
    assert_eq!(terminal.closed().await, 4000);
    let text = String::from_utf8_lossy(&terminal.shown).into_owned();
    Ok((text, terminal.exit()))
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let service = || {
        program()
            .env("AGENTD_OUTPUT_KEPT_BYTES", "6000")
            .env("AGENTD_OUTPUT_KEPT_BYTES_IN_ALL", "9000")
    };
    let daemon = service().start();
    // About 2,500 bytes each, with the last screen.
    let script = "seq 1 50; exit 0";
    let mut agents = Vec::new();
    for name in ["one", "two", "three"] {
        let body = daemon.new_session(name, &["sh", "-c", script]);
        let agent: Agent = daemon.create(&body).await.expect(201).parse();
        until(&daemon, &agent, AgentStatus::Stopped).await;
        for _ in 0..3 {
            ask(&daemon, &agent, "restart").await.expect(200);
            until(&daemon, &agent, AgentStatus::Stopped).await;
        }
        let sessions = past(&daemon, &agent, 4).await;
        let path = format!("/agents/{}/logs?session={}", agent.id, sessions[0].id);
        eventually("the oldest output to be dropped", async || {
            let answer = daemon.get(&path).await;
            let newest = lines_of(&daemon, &agent, &sessions[3].id).await;
            (answer.status == 404 && newest.last().is_some_and(|line| line == "50")).then(|| {
                answer.problem(404, "gone");
            })
        })
        .await;
        agents.push(agent);
    }
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    let (count, bytes) = kept(&daemon);
    assert!(count > 0 && bytes <= 9000, "{count} of {bytes} bytes");
    let database = Connection::open(daemon.state_dir().join("orchestrator.db")).unwrap();
    let of_first = "SELECT count(*) FROM outputs WHERE agent = ?";
    let of_first: i64 = database
        .query_row(of_first, [&agents[0].id], |row| row.get(0))
        .unwrap();
    assert_eq!(of_first, 0);
}

async fn lines_of(daemon: &RunningProgram, agent: &Agent, session: &str) -> Vec<String> {
    let path = format!("/agents/{}/logs?session={session}", agent.id);
    let log = daemon.get(&path).await;
    if log.status != 200 {
        return Vec::new();
    }
    lines(daemon, agent, &format!("?session={session}")).await
}
