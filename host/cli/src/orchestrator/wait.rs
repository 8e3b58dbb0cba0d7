use std::process::ExitCode;
use std::time::Duration;

use agentd_api::{ActivityState, Agent, AgentStatus, Change};
use clap::{Args, ValueEnum};
use tokio::time::{sleep, timeout};

use super::following::{Following, News, RETRY, is_away};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::span::parse_span;
use crate::verb::name::{NAMED, parse_name};
use crate::verb::session_text;
use crate::visible::visible;

/// The exit code when the agent has ended instead.
const ENDED: u8 = 3;
/// The exit code when the time is over, as timeout(1) has it.
const TIME_OVER: u8 = 124;

/// Exit codes: 0 when it is so, 3 when the agent has ended or is deleted instead, 124 when the time is
/// over, 1 when the service refuses or does not answer at the beginning.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// Until it waits for a person, until it has nothing to do, or until its session has ended
    #[arg(long = "for", value_name = "STATE", value_enum)]
    goal: Goal,
    /// At most so long: `90s`, `30m`, `1h` or `7d`
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    timeout: Option<u64>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    Waiting,
    Idle,
    Exit,
}

/// What became of the agent.
#[derive(Debug)]
pub(crate) enum Outlook {
    Reached(Agent),
    Ended(Agent),
    Deleted,
}

impl Wait {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let until = wait_until(connection, &self.name, self.goal);
        let ending = match self.timeout {
            None => until.await?,
            Some(seconds) => match timeout(Duration::from_secs(seconds), until).await {
                Ok(ending) => ending?,
                Err(_) => {
                    let is_not = format!("{} is not {} after {seconds} s", self.name, self.state());
                    Failure::new(is_not).report();
                    return Ok(ExitCode::from(TIME_OVER));
                }
            },
        };
        match ending {
            Outlook::Reached(agent) => {
                output.show(&agent, |agent| self.text(agent))?;
                Ok(ExitCode::SUCCESS)
            }
            Outlook::Ended(agent) => {
                let session = agent.session.as_ref();
                let how = session.map_or_else(|| "ended".to_owned(), session_text::state);
                Failure::new(format!("{} is not {}: {how}", self.name, self.state())).report();
                Ok(ExitCode::from(ENDED))
            }
            // That is an end, too, and there is nothing left to show.
            Outlook::Deleted if self.goal == Goal::Exit => Ok(ExitCode::SUCCESS),
            Outlook::Deleted => {
                Failure::new(format!("{} was deleted", self.name)).report();
                Ok(ExitCode::from(ENDED))
            }
        }
    }

    fn state(&self) -> &'static str {
        match self.goal {
            Goal::Waiting => "waiting",
            Goal::Idle => "idle",
            Goal::Exit => "ended",
        }
    }

    /// What there is to say about it, in a line.
    fn text(&self, agent: &Agent) -> String {
        let Some(session) = &agent.session else {
            return agent.status.as_str().to_owned();
        };
        let activity = session.activity.as_ref();
        match (self.goal, activity.and_then(|now| now.reason.as_deref())) {
            (Goal::Exit, _) => session_text::state(session),
            (_, Some(reason)) => format!("{}: {}", self.state(), visible(reason)),
            (_, None) => self.state().to_owned(),
        }
    }
}

/// Waits until the agent of that name or id is so, or can no longer come to be.
pub(crate) async fn wait_until(
    connection: &Connection,
    name: &str,
    goal: Goal,
) -> Result<Outlook, Failure> {
    let mut following = Following::open(connection).await?;
    let mut agent = connection.agent(name).await?;
    let restarts = agent.restarts;
    loop {
        if goal.is_reached(&agent, restarts) {
            return Ok(Outlook::Reached(agent));
        }
        if goal != Goal::Exit {
            if has_ended(&agent) {
                return Ok(Outlook::Ended(agent));
            }
            can_be_known(&agent)?;
        }
        let is_to_read = match following.next().await? {
            News::Change(change) => match *change {
                Change::Deleted { id, .. } if id == agent.id => return Ok(Outlook::Deleted),
                Change::Gap { .. } => true,
                change => {
                    apply(&mut agent, change);
                    false
                }
            },
            News::Lost => {
                note("lost the connection; trying again");
                false
            }
            News::Again => true,
        };
        if is_to_read {
            match again(connection, &agent.id).await? {
                Some(now) => agent = now,
                None => return Ok(Outlook::Deleted),
            }
        }
    }
}

impl Goal {
    /// `restarts` is how many there were at the beginning: a session may have ended unseen.
    fn is_reached(self, agent: &Agent, restarts: u64) -> bool {
        let is = |state| {
            let session = agent.session.as_ref();
            let activity = session.and_then(|session| session.activity.as_ref());
            agent.status == AgentStatus::Running && activity.is_some_and(|now| now.state == state)
        };
        match self {
            Goal::Waiting => is(ActivityState::Waiting),
            Goal::Idle => is(ActivityState::Idle),
            Goal::Exit => is_over(agent.status) || agent.restarts != restarts,
        }
    }
}

/// Whether it runs no more and is not started again by itself.
fn has_ended(agent: &Agent) -> bool {
    is_over(agent.status) && agent.next_restart_at.is_none()
}

fn is_over(status: AgentStatus) -> bool {
    match status {
        AgentStatus::Pending | AgentStatus::Running => false,
        AgentStatus::Stopped | AgentStatus::Failed | AgentStatus::Lost => true,
    }
}

/// What an agent does is read from its terminal.
fn can_be_known(agent: &Agent) -> Result<(), Failure> {
    let Some(session) = &agent.session else {
        return Ok(());
    };
    if session.capabilities.is_empty() || session.has("terminal") || session.has("attach-tmux") {
        return Ok(());
    }
    let backend = &session.backend_type;
    Err(Failure::new(format!(
        "what {} does is not known: the backend `{backend}` has no terminal",
        agent.name
    ))
    .hint("`--for exit` waits for its end"))
}

fn apply(agent: &mut Agent, change: Change) {
    match change {
        Change::Activity { id, activity, .. } if id == agent.id => {
            if let Some(session) = &mut agent.session {
                session.activity = Some(activity);
            }
        }
        change => {
            if let Some(now) = change.into_agent().filter(|now| now.id == agent.id) {
                *agent = now;
            }
        }
    }
}

/// The agent as it is now, once the service answers; None of one that is gone.
async fn again(connection: &Connection, id: &str) -> Result<Option<Agent>, Failure> {
    loop {
        match connection.client.agent(id).await {
            Ok(agent) => return Ok(Some(agent)),
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) if is_away(&error) => sleep(RETRY).await,
            Err(error) => return Err(connection.explain(error)),
        }
    }
}
