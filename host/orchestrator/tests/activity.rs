//! What programs do, by what their terminals say. How it is inferred is tested beside the code; here,
//! that clients see it.

use agentd_api::{Activity, ActivityState};
use agentd_host::testing::{TestBackend, TestClient, TestSession, leave_out};
use rustix::process::Signal;
use serde_json::Value;

use crate::events::Listener;
use crate::orchestrator;
use crate::program::program;

impl Listener {
    /// Reads until an agent is shown so, and gives what was shown of it on the way.
    async fn until_active(
        &mut self,
        agent: &TestSession,
        is_wanted: impl Fn(&Activity) -> bool,
    ) -> Vec<Activity> {
        let mut shown = Vec::new();
        loop {
            let data = self.unnumbered("activity").await;
            if format!("/agents/{}", data["id"].as_str().unwrap()) != agent.path {
                continue;
            }
            assert!(data["name"].is_string());
            let activity: Activity = serde_json::from_value(data["activity"].clone()).unwrap();
            let is_last = is_wanted(&activity);
            shown.push(activity);
            if is_last {
                return shown;
            }
        }
    }
}

fn waits_for(reason: &str) -> impl Fn(&Activity) -> bool {
    move |activity| {
        let is_reason = activity.reason.as_deref() == Some(reason);
        activity.state == ActivityState::Waiting && is_reason
    }
}

fn is(state: ActivityState) -> impl Fn(&Activity) -> bool {
    move |activity| activity.state == state
}

async fn shown(agent: &TestSession, is_wanted: impl Fn(&Activity) -> bool) -> Activity {
    let session = agent.until("the activity", |session| {
        session.activity.as_ref().is_some_and(&is_wanted)
    });
    session.await.activity.unwrap()
}

async fn names(client: &TestClient, query: &str) -> Vec<String> {
    let list: Value = client
        .get(&format!("/agents{query}"))
        .await
        .expect(200)
        .json();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|agent| agent["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_question_a_bell_and_work_are_events_and_shown() {
    let server = orchestrator("pty");
    let mut listener = Listener::new(&server, None).await;
    let script = r#"printf '\033]2;* build\007Overwrite it? [y/N] '
        read a; printf '\033]9;done with it\007'
        read a; while :; do echo line; sleep 0.1; done"#;
    let agent = server.script("demo", script).await;
    let asked = listener.until_active(&agent, waits_for("question")).await;
    assert_eq!(asked.last().unwrap().title.as_deref(), Some("build"));
    let waiting = shown(&agent, waits_for("question")).await;
    assert_eq!(Some(&waiting), asked.last());

    agent.prompt("n").await.expect(202);
    listener
        .until_active(&agent, waits_for("done with it"))
        .await;
    agent.prompt("").await.expect(202);
    listener
        .until_active(&agent, is(ActivityState::Working))
        .await;

    // Whoever comes later is shown what there is.
    let mut late = Listener::new(&server, None).await;
    late.until_active(&agent, is(ActivityState::Working)).await;
    server
        .post(&format!("{}/stop", agent.path), &())
        .await
        .expect(200);
    listener
        .until_active(&agent, is(ActivityState::Unknown))
        .await;
    assert_eq!(
        agent.show().await.activity.unwrap().state,
        ActivityState::Unknown
    );
}

#[tokio::test]
async fn who_waits_longest_comes_first() {
    let server = orchestrator("pty");
    server.script("idle", "read a").await;
    let late = server.script("late", r"read a; printf '\a'; read a").await;
    let early = server.script("early", r"printf 'Password: '; read a").await;
    shown(&early, waits_for("password")).await;
    assert_eq!(
        names(&server, "?sort=waiting").await,
        ["early", "idle", "late"]
    );

    // A bell that comes with a key does not count, so the program is asked without one.
    let mut terminal = late.terminal("").await;
    terminal.type_keys("\x1b[I\r").await;
    shown(&late, waits_for("bell")).await;
    assert_eq!(
        names(&server, "?sort=waiting").await,
        ["early", "late", "idle"]
    );
    assert_eq!(
        names(&server, "?sort=waiting&order=desc").await,
        ["idle", "late", "early"]
    );
    let first: Value = server
        .get("/agents?sort=waiting&limit=1")
        .await
        .expect(200)
        .json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = names(&server, &format!("?sort=waiting&limit=2&cursor={cursor}")).await;
    assert_eq!(rest, ["late", "idle"]);
    early.prompt("").await.expect(202);
    early.ended().await;
    assert_eq!(
        names(&server, "?sort=waiting").await,
        ["late", "idle", "early"]
    );
}

/// tmux has the terminal, and its library says what that shows. Nobody listens here.
#[tokio::test]
async fn on_tmux_a_question_a_bell_and_work_are_seen_also_by_a_later_service() {
    let backend = match TestBackend::tmux() {
        Ok(backend) => backend,
        Err(missing) => return leave_out(&missing),
    };
    let mut daemon = backend.configure(program()).start();
    let quiet = daemon.script("quiet", "echo here; read a").await;
    let script = r#"printf '\033]2;* build\007Overwrite it? [y/N] '
        read a; sleep 1; printf '\a'; read a; echo; printf 'Overwrite it? [y/N] '
        read a; while :; do echo line; sleep 0.1; done"#;
    let agent = daemon.script("demo", script).await;
    let asks = shown(&agent, waits_for("question")).await;
    assert_eq!(asks.title.as_deref(), Some("build"));
    agent.prompt("n").await.expect(202);
    let rings = shown(&agent, waits_for("bell")).await;
    assert_ne!(rings.since, asks.since);
    let calm = shown(&quiet, is(ActivityState::Idle)).await;
    assert_eq!((calm.title, calm.reason), (None, None));
    assert_eq!(names(&daemon, "?sort=waiting").await, ["demo", "quiet"]);

    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = backend.configure(program()).start_after(daemon);
    let again = |agent: TestSession| daemon.session(agent.path.trim_start_matches("/agents/"));
    let [agent, quiet] = [agent, quiet].map(again);
    // The title comes with the screen, once that is complete.
    let is_titled = |activity: &Activity| activity.title.as_deref() == Some("build");
    let rings_and_is_titled = |it: &Activity| waits_for("bell")(it) && is_titled(it);
    shown(&agent, rings_and_is_titled).await;
    agent.prompt("").await.expect(202);
    shown(&agent, waits_for("question")).await;
    agent.prompt("").await.expect(202);
    shown(&agent, is(ActivityState::Working)).await;
    shown(&quiet, is(ActivityState::Idle)).await;
    daemon
        .post(&format!("{}/stop", agent.path), &())
        .await
        .expect(200);
    shown(&agent, is(ActivityState::Unknown)).await;
}

/// What has no terminal says nothing of what it does.
#[tokio::test]
async fn without_a_terminal_nothing_is_known() {
    let server = orchestrator("fixture");
    let agent = server.start("demo", &["run"]).await;
    let activity = agent.show().await.activity.unwrap();
    assert_eq!(activity.state, ActivityState::Unknown);
}
