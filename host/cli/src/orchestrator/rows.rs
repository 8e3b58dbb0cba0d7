//! Agents as lines.

use agentd_api::{Activity, ActivityState, Agent, AgentStatus, Health, State};
use jiff::Timestamp;

use super::label;
use crate::age::{age, until};
use crate::table::{fitted, table};
use crate::verb::session_text;

/// All there is of each, or as much as fits on a line of that width.
pub(super) fn text(agents: &[Agent], width: Option<usize>) -> String {
    match width {
        Some(width) => narrow(agents, width),
        None => wide(agents),
    }
}

/// What its program does, while it runs and somebody knows.
pub(super) fn activity(agent: &Agent) -> Option<&Activity> {
    let session = agent.session.as_ref()?;
    let runs = agent.status == AgentStatus::Running && session.state == State::Running;
    let known = |activity: &&Activity| activity.state != ActivityState::Unknown;
    session.activity.as_ref().filter(|_| runs).filter(known)
}

/// As the page shows them. What is the same for all is left out.
fn narrow(agents: &[Agent], width: usize) -> String {
    let now = Timestamp::now();
    let backend = |agent: &Agent| {
        let session = agent.session.as_ref();
        session.map_or(String::new(), |session| session.backend_type.clone())
    };
    let differ = agents
        .windows(2)
        .any(|two| backend(&two[0]) != backend(&two[1]));
    let rows: Vec<_> = agents
        .iter()
        .map(|agent| {
            [
                agent.name.clone(),
                doing(agent, now),
                age(since(agent), now),
                if differ {
                    backend(agent)
                } else {
                    String::new()
                },
                label::text(&agent.labels, ","),
                command(agent),
            ]
        })
        .collect();
    let headings = [
        ("NAME", 24),
        ("STATUS", 28),
        ("FOR", 5),
        ("BACKEND", 8),
        ("LABELS", 16),
        ("COMMAND", usize::MAX),
    ];
    fitted(headings, &rows, width)
}

/// What it does, and why.
fn doing(agent: &Agent, now: Timestamp) -> String {
    if let Some(activity) = activity(agent) {
        let word = activity.state.as_str();
        return match &activity.reason {
            Some(reason) => format!("{word}: {reason}"),
            None => word.to_owned(),
        };
    }
    let mut text = agent.status.as_str().to_owned();
    let session = agent.session.as_ref();
    if let Some(exit) = session.and_then(|session| session.exit.as_ref())
        && agent.status != AgentStatus::Stopped
    {
        text.push_str(&format!(" ({})", session_text::exit_word(exit)));
    }
    if let Some(progress) = session.and_then(|session| session.progress.as_ref()) {
        text.push_str(&format!(" ({progress})"));
    }
    match session.map(|session| session.health) {
        Some(Health::Unhealthy) => text.push_str(", unhealthy"),
        Some(Health::Starting) => text.push_str(", starting"),
        _ => {}
    }
    if let Some(at) = &agent.next_restart_at {
        text.push_str(&format!(", next in {}", until(at, now)));
    }
    text
}

/// Since when it does that, as far as that is known.
fn since(agent: &Agent) -> &str {
    if let Some(activity) = activity(agent) {
        return &activity.since;
    }
    let Some(session) = &agent.session else {
        return &agent.created_at;
    };
    let past = || {
        let mut past = agent.history.iter();
        past.find(|past| past.started_at == session.created_at)
    };
    match session.exit.as_ref().and_then(|_| past()) {
        Some(past) => &past.ended_at,
        None => &session.created_at,
    }
}

fn command(agent: &Agent) -> String {
    let session = agent.session.as_ref();
    session.map_or("-".to_owned(), |session| {
        session_text::command(&session.command)
    })
}

fn wide(agents: &[Agent]) -> String {
    let now = Timestamp::now();
    table(
        [
            "NAME", "STATUS", "SESSION", "HEALTH", "BACKEND", "RESTARTS", "AGE", "LABELS",
            "COMMAND", "ID",
        ],
        agents.iter().map(|agent| {
            let of_session = |text: &dyn Fn(&agentd_api::Session) -> String| {
                agent.session.as_ref().map_or("-".to_owned(), text)
            };
            [
                agent.name.clone(),
                agent.status.as_str().to_owned(),
                of_session(&session_text::state),
                of_session(&|session| session_text::health(session).to_owned()),
                of_session(&|session| session.backend_type.clone()),
                restarts(agent, now),
                age(&agent.created_at, now),
                match agent.labels.is_empty() {
                    true => "-".to_owned(),
                    false => label::text(&agent.labels, ","),
                },
                command(agent),
                agent.id.clone(),
            ]
        }),
    )
}

/// How often it was started again, and when it is next.
fn restarts(agent: &Agent, now: Timestamp) -> String {
    let count = agent.restarts;
    match &agent.next_restart_at {
        Some(at) => format!("{count}, next in {}", until(at, now)),
        None => count.to_string(),
    }
}
