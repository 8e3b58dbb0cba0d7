use agentd_api::{ActivityState, Agent, AgentStatus};
use jiff::Timestamp;

use crate::age::{age, until};
use crate::verb::session_text;
use crate::visible::visible;

/// A name has at most this part of a line.
const NAME_SHARE: usize = 3;
/// The width of a state: `restarting`.
const STATE: usize = 10;
/// The width of how long it is so.
const SINCE: usize = 4;

/// A line of the table, with a colour where it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    before: String,
    state: String,
    after: String,
    colour: &'static str,
}

impl Line {
    fn plain(text: &str, cols: usize) -> Line {
        Line {
            before: cut(text, cols),
            state: String::new(),
            after: String::new(),
            colour: "",
        }
    }

    pub(super) fn painted(&self, colours: bool) -> String {
        match colours && !self.colour.is_empty() {
            true => format!(
                "{}\x1b[{}m{}\x1b[m{}",
                self.before, self.colour, self.state, self.after
            ),
            false => format!("{}{}{}", self.before, self.state, self.after),
        }
    }
}

/// What an agent is busy with, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Waiting,
    Failed,
    Lost,
    Restarting,
    Working,
    Idle,
    Running,
    Pending,
    Stopped,
}

impl Doing {
    fn of(agent: &Agent) -> Doing {
        let session = agent.session.as_ref();
        let activity = session.and_then(|session| session.activity.as_ref());
        match agent.status {
            _ if agent.next_restart_at.is_some() => Doing::Restarting,
            AgentStatus::Pending => Doing::Pending,
            AgentStatus::Stopped => Doing::Stopped,
            AgentStatus::Failed => Doing::Failed,
            AgentStatus::Lost => Doing::Lost,
            AgentStatus::Running => match activity.map(|activity| activity.state) {
                Some(ActivityState::Waiting) => Doing::Waiting,
                Some(ActivityState::Working) => Doing::Working,
                Some(ActivityState::Idle) => Doing::Idle,
                Some(ActivityState::Unknown) | None => Doing::Running,
            },
        }
    }

    /// Its word, and its colour as a terminal takes it.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            Doing::Waiting => ("waiting", "1;33"),
            Doing::Failed => ("failed", "31"),
            Doing::Lost => ("lost", "31"),
            Doing::Restarting => ("restarting", "33"),
            Doing::Working => ("working", "32"),
            Doing::Idle => ("idle", ""),
            Doing::Running => ("running", "32"),
            Doing::Pending => ("pending", ""),
            Doing::Stopped => ("stopped", "2"),
        }
    }

    fn is_running(self) -> bool {
        matches!(
            self,
            Doing::Waiting | Doing::Working | Doing::Idle | Doing::Running
        )
    }
}

/// The table in a window of this size: who waits longest is first.
pub(super) fn lines<'a>(
    agents: impl Iterator<Item = &'a Agent>,
    now: Timestamp,
    cols: usize,
    rows: usize,
    is_lost: bool,
) -> Vec<Line> {
    let mut agents: Vec<(Doing, &Agent)> = agents.map(|one| (Doing::of(one), one)).collect();
    agents.sort_by_key(|(doing, agent)| (*doing, since(*doing, agent), &agent.name));
    let waiting = agents.iter().filter(|(doing, _)| *doing == Doing::Waiting);
    let mut summary = match agents.len() {
        1 => "1 agent".to_owned(),
        many => format!("{many} agents"),
    };
    let waiting = waiting.count();
    if waiting > 0 {
        summary += &format!(", {waiting} waiting");
    }
    if is_lost {
        summary += "; lost the connection, trying again";
    }
    let longest = agents.iter().map(|(_, agent)| agent.name.len()).max();
    let name = longest.unwrap_or(0).clamp(4, (cols / NAME_SHARE).max(4));
    let mut lines = vec![
        Line::plain(&summary, cols),
        Line::plain(
            &format!(
                "{:name$}  {:STATE$}  {:SINCE$}  WHAT",
                "NAME", "STATE", "FOR"
            ),
            cols,
        ),
    ];
    let room = rows.saturating_sub(lines.len());
    // The last line says how many have no room.
    let shown = match agents.len() > room {
        true => room.saturating_sub(1),
        false => agents.len(),
    };
    let row = |(doing, agent): &(Doing, &Agent)| row(*doing, agent, now, name, cols);
    lines.extend(agents.iter().take(shown).map(row));
    if shown < agents.len() {
        lines.push(Line::plain(
            &format!("and {} more", agents.len() - shown),
            cols,
        ));
    }
    lines.truncate(rows);
    lines
}

fn row(doing: Doing, agent: &Agent, now: Timestamp, name: usize, cols: usize) -> Line {
    let (state, colour) = doing.shown();
    let before = format!("{:name$}  ", cut(&agent.name, name));
    let rest = format!(
        "{:pad$}  {:SINCE$}  {}",
        "",
        age(since(doing, agent), now),
        what(doing, agent, now),
        pad = STATE - state.len(),
    );
    let state = cut(state, cols.saturating_sub(before.len()));
    let after = cut(&rest, cols.saturating_sub(before.len() + state.len()));
    Line {
        before: cut(&before, cols),
        state,
        after: after.trim_end().to_owned(),
        colour,
    }
}

/// Since when: of its activity, else of its end or beginning.
fn since(doing: Doing, agent: &Agent) -> &str {
    let session = agent.session.as_ref();
    let activity = session.and_then(|session| session.activity.as_ref());
    match activity {
        Some(activity) if doing.is_running() && doing != Doing::Running => &activity.since,
        _ => agent
            .history
            .last()
            .filter(|_| !doing.is_running())
            .map_or(&agent.created_at, |past| &past.ended_at),
    }
}

/// Why it is so: the question, the title, the end; else what runs.
fn what(doing: Doing, agent: &Agent, now: Timestamp) -> String {
    if let Some(at) = &agent.next_restart_at {
        return format!("in {}", until(at, now));
    }
    let Some(session) = &agent.session else {
        return String::new();
    };
    let activity = session.activity.as_ref().filter(|_| doing.is_running());
    let said = activity.and_then(|now| now.reason.as_ref().or(now.title.as_ref()));
    match (said, &session.exit) {
        (Some(said), _) => visible(said),
        (None, Some(exit)) => format!("exited ({})", session_text::exit_word(exit)),
        (None, None) => session_text::command(&session.command),
    }
}

/// As much as has room, with a mark where something is left out.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    match room {
        0 => String::new(),
        _ => kept + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, state: &str, since: &str, reason: &str) -> Agent {
        serde_json::from_value(serde_json::json!({
            "id": name, "name": name, "status": "running", "restarts": 0,
            "created_at": "2026-11-23T11:00:00Z",
            "session": {
                "name": name, "backend_type": "pty", "state": "running", "health": "unknown",
                "exit": null, "working_dir": "/", "command": ["cat"],
                "size": {"cols": 80, "rows": 24}, "viewers": 0,
                "created_at": "2026-11-23T11:00:00Z",
                "activity": {"state": state, "since": since, "reason": reason},
            },
        }))
        .unwrap()
    }

    fn shown(agents: &[Agent], cols: usize, rows: usize) -> Vec<String> {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let lines = lines(agents.iter(), now, cols, rows, false);
        lines.iter().map(|line| line.painted(false)).collect()
    }

    #[test]
    fn who_waits_longest_is_first() {
        let agents = [
            agent("busy", "working", "2026-11-23T11:00:00Z", "build"),
            agent("late", "waiting", "2026-11-23T11:59:00Z", "bell"),
            agent("long", "waiting", "2026-11-23T11:30:00Z", "a question?"),
        ];
        assert_eq!(
            shown(&agents, 80, 24),
            [
                "3 agents, 2 waiting",
                "NAME  STATE       FOR   WHAT",
                "long  waiting     30m   a question?",
                "late  waiting     1m    bell",
                "busy  working     1h    build",
            ]
        );
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_window() {
        let long = "x".repeat(63);
        let agents: Vec<Agent> = (0..30)
            .map(|_| agent(&long, "idle", "2026-11-23T11:59:00Z", &long))
            .collect();
        for cols in [0, 1, 3, 10, 20, 40, 80, 200] {
            for rows in [0, 1, 2, 3, 24, 60] {
                let lines = shown(&agents, cols, rows);
                assert!(lines.len() <= rows, "{cols}x{rows}: {lines:#?}");
                for line in &lines {
                    assert!(line.chars().count() <= cols, "{cols}x{rows}: {line}");
                }
            }
        }
        let lines = shown(&agents, 80, 10);
        assert_eq!(lines.last().unwrap(), "and 23 more");
    }

    #[test]
    fn colours_are_for_the_state_alone() {
        let agents = [agent("a", "waiting", "2026-11-23T11:59:00Z", "\u{1b}[31m")];
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let lines = lines(agents.iter(), now, 80, 24, false);
        assert_eq!(
            lines[2].painted(true),
            "a     \u{1b}[1;33mwaiting\u{1b}[m     1m    \\u{1b}[31m"
        );
    }
}
