//! The time of day jumps, as when somebody sets it or a machine learns it late.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use agentd_api::{Agent, AgentStatus};
use agentd_host::testing::{RunningProgram, TestProgram, example_libraries};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use warp::http::Method;

use crate::events::Listener;
use crate::program::program;
use crate::reconcile::until;

const YEAR: i64 = 365 * 24 * 60 * 60;

/// The clock of services, which alone see it.
struct Clock(NamedTempFile);

impl Clock {
    fn right() -> Self {
        let clock = Clock(NamedTempFile::new().unwrap());
        clock.is_off_by(0);
        clock
    }

    /// Now, and from now on.
    fn is_off_by(&self, seconds: i64) {
        let file = OpenOptions::new().write(true).open(self.0.path()).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn seen_by(&self, program: TestProgram) -> TestProgram {
        let library = example_libraries().join("libagentd_test_clock.so");
        program
            .env("LD_PRELOAD", library)
            .env("AGENTD_TEST_CLOCK", self.0.path())
    }
}

async fn create(daemon: &RunningProgram, name: &str, more: Value) -> Agent {
    let mut body = daemon.new_session(name, &["cat"]);
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    daemon.create(&body).await.expect(201).parse()
}

fn year(time: &str) -> i64 {
    time.split('-').next().unwrap().parse().unwrap()
}

/// Fault: the clock is set back by a year while an agent waits for its restart. Then: it is started again all
/// the same, and does not wait for a year.
#[tokio::test]
async fn a_clock_that_is_set_back_holds_up_no_restart() {
    let clock = Clock::right();
    // So long that the clock is set before it is due.
    let daemon = clock
        .seen_by(program().env("AGENTD_RESTART_BACKOFF_MS", "3000"))
        .start();
    let fails = json!({"command": ["sh", "-c", "exit 3"], "restart": "always"});
    let agent = create(&daemon, "fails", fails).await;
    let waits = until(&daemon, &agent.id, "a planned restart", |agent| {
        agent.next_restart_at.is_some()
    })
    .await;
    clock.is_off_by(-YEAR);
    until(&daemon, &agent.id, "its restart", |agent| {
        agent.restarts > waits.restarts
    })
    .await;
}

/// Fault: the clock jumps ten years ahead and back again. Then: agents run on, are created, stopped and listed as
/// before, no event is missed, and the next service has all of them.
#[tokio::test]
async fn agents_do_not_mind_what_time_it_is() {
    let clock = Clock::right();
    let daemon = clock.seen_by(program()).start();
    let mut listener = Listener::new(&daemon, None).await;
    let mut agents = Vec::new();
    let mut years = Vec::new();
    for (name, offset) in [("present", 0), ("future", 10 * YEAR), ("past", -10 * YEAR)] {
        clock.is_off_by(offset);
        let agent = create(&daemon, name, json!({})).await;
        years.push(year(&agent.created_at));
        agents.push(agent);
        let mut terminal = daemon.session(&agents[0].id).terminal("").await;
        terminal.type_keys(format!("typed in the {name}\n")).await;
        terminal.shows(&format!("typed in the {name}")).await;
        terminal.detach().await;
    }
    assert!(years[0] < years[1] && years[2] < years[0], "{years:?}");
    for agent in &agents {
        let path = format!("/agents/{}/stop", agent.id);
        daemon.request(Method::POST, &path).await.expect(200);
    }
    let mut events = Vec::new();
    for _ in &agents {
        events.extend(listener.until("exited").await);
    }
    assert!(events.is_sorted_by(|one, next| one.id < next.id));
    // Of those that are listed a page at a time, each is there once.
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/agents?limit=1{cursor}");
        let page = daemon.get(&path).await.expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        listed.extend(items.map(|agent| agent["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    listed.sort_unstable();
    assert_eq!(listed, ["future", "past", "present"]);

    let mut daemon = daemon;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = clock.seen_by(program()).start_after(daemon);
    for agent in &agents {
        let path = format!("/agents/{}", agent.id);
        let agent: Agent = daemon.get(&path).await.expect(200).parse();
        assert_eq!(agent.status, AgentStatus::Stopped, "{agent:?}");
        daemon
            .request(Method::POST, &format!("{path}/restart"))
            .await
            .expect(200);
    }
}
