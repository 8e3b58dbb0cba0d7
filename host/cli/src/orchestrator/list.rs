use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use agentd_api::{
    ActivityState, Agent, AgentQuery, AgentSort, AgentStatus, Change, ClientError, Order, Page,
};
use clap::Args;
use rustix::termios::tcgetwinsize;
use tokio::time::{interval, sleep};

use super::following::{RETRY, apply};
use super::rows;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::verb::session_text;
use crate::visible::visible;

/// How often a table that is watched is drawn again without a change, for the ages in it.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only agents of this status
    #[arg(long, value_parser = parse_status)]
    status: Option<AgentStatus>,
    /// Only agents of this backend
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Only agents with this label; repeatable: with all of them
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// What the order goes by: created, name, status or waiting [default: those that wait for a person, who waits
    /// longest first, then the newest]
    #[arg(long, value_name = "WORD", value_parser = parse_sort)]
    sort: Option<AgentSort>,
    /// The greatest or newest first
    #[arg(long)]
    reverse: bool,
    /// All columns, also where a terminal has no room for them on a line
    #[arg(long)]
    wide: bool,
    /// Stay, and show changes as they happen
    #[arg(long, short)]
    watch: bool,
}

impl List {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        if self.watch {
            return self.watch(connection, output).await;
        }
        let items = self.read(connection).await?;
        let total = items.len() as u64;
        let page = Page {
            items,
            total,
            next_cursor: None,
        };
        let width = self.width(output);
        output.show(&page, |page| rows::text(&page.items, width))?;
        if page.items.is_empty() {
            note("no agents; `agent orchestrator create NAME` makes one");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn read(&self, connection: &Connection) -> Result<Vec<Agent>, Failure> {
        let agents = connection.client.all_agents(&self.query()).await;
        let mut agents = agents.map_err(|error| connection.explain(error))?;
        if self.sort.is_none() {
            as_on_the_page(&mut agents);
            if self.reverse {
                agents.reverse();
            }
        }
        Ok(agents)
    }

    /// How long a line may be, where that matters.
    fn width(&self, output: &Output) -> Option<usize> {
        let fits = output.is_terminal() && !self.wide;
        let size = fits.then(|| tcgetwinsize(stdout()).ok()).flatten();
        size.map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0)
    }

    fn query(&self) -> AgentQuery {
        AgentQuery {
            status: self.status,
            backend: self.backend.clone(),
            labels: self.labels.clone(),
            sort: self.sort.unwrap_or_default(),
            order: if self.reverse {
                Order::Desc
            } else {
                Order::Asc
            },
            ..AgentQuery::default()
        }
    }

    /// On a terminal the table, always up to date; elsewhere the changes, one a line.
    async fn watch(&self, connection: &Connection, output: &mut Output) -> Outcome {
        let live = output.is_terminal() && !output.is_json();
        let screen =
            |agents: &BTreeMap<String, Agent>, output: &Output| screen(agents, self.width(output));
        // The stream is opened before the list is read: a change in between is then seen twice
        // rather than never.
        let mut events = connection
            .client
            .events(None)
            .await
            .map_err(|error| connection.explain(error))?;
        let mut agents = self.by_id(connection).await?;
        let mut redraw = interval(REDRAW);
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                _ = redraw.tick(), if live => {
                    output.raw(screen(&agents, output).as_bytes())?;
                    continue;
                }
            };
            match next {
                Ok(Some(Change::Gap { .. })) if live => {
                    agents = self.by_id(connection).await?;
                    output.raw(screen(&agents, output).as_bytes())?;
                }
                Ok(Some(change)) if live => {
                    apply(&mut agents, &self.query(), change);
                    output.raw(screen(&agents, output).as_bytes())?;
                }
                Ok(Some(change)) if output.is_json() => output.json_line(&change)?,
                Ok(Some(change)) => output.line(&line(&change))?,
                Ok(None) | Err(ClientError::Lost { .. }) => {
                    note("lost the connection; trying again");
                    let last = events.last_id().map(str::to_owned);
                    events = loop {
                        sleep(RETRY).await;
                        match connection.client.events(last.as_deref()).await {
                            Ok(events) => break events,
                            Err(ClientError::Unreachable { .. } | ClientError::Lost { .. }) => {}
                            Err(error) => return Err(connection.explain(error)),
                        }
                    };
                    agents = self.by_id(connection).await?;
                }
                Err(error) => return Err(connection.explain(error)),
            }
        }
    }

    async fn by_id(&self, connection: &Connection) -> Result<BTreeMap<String, Agent>, Failure> {
        let agents = self.read(connection).await?.into_iter();
        Ok(agents.map(|agent| (agent.id.clone(), agent)).collect())
    }
}

/// Those that wait for a person, who waits longest first; then the newest.
fn as_on_the_page(agents: &mut [Agent]) {
    let order = |agent: &Agent| {
        let since = rows::activity(agent)
            .filter(|activity| activity.state == ActivityState::Waiting)
            .map(|activity| activity.since.clone());
        (since.is_none(), since, Reverse(agent.created_at.clone()))
    };
    agents.sort_by_cached_key(order);
}

/// The table over what was on the terminal before, as much of it as has room.
fn screen(agents: &BTreeMap<String, Agent>, width: Option<usize>) -> String {
    let mut agents: Vec<Agent> = agents.values().cloned().collect();
    as_on_the_page(&mut agents);
    let room = tcgetwinsize(stdout()).map_or(usize::MAX, |size| size.ws_row.max(2).into()) - 1;
    let lines: Vec<String> = rows::text(&agents, width)
        .lines()
        .take(room)
        .map(|line| format!("{line}\x1b[K\r\n"))
        .collect();
    // Lines that are too long end at the edge, while the wrapping is off.
    format!("\x1b[H\x1b[?7l{}\x1b[J\x1b[?7h", lines.concat())
}

/// A change for reading.
fn line(change: &Change) -> String {
    let (event, name, agent) = match change {
        Change::Created { agent } => ("created", &agent.name, Some(agent)),
        Change::Started { agent } => ("started", &agent.name, Some(agent)),
        Change::Adopted { agent } => ("adopted", &agent.name, Some(agent)),
        Change::Exited { agent } => ("exited", &agent.name, Some(agent)),
        Change::Restarted { agent } => ("restarted", &agent.name, Some(agent)),
        Change::RestartScheduled { agent } => ("restart scheduled", &agent.name, Some(agent)),
        Change::Edited { agent } => ("edited", &agent.name, Some(agent)),
        Change::RecordingEnded { agent } => {
            let recording = agent.session.as_ref().and_then(session_text::recording);
            let recording = recording.unwrap_or_default();
            return format!("recording {recording} {}", agent.name);
        }
        Change::Health { agent } => ("health", &agent.name, Some(agent)),
        Change::Progress { agent } => ("progress", &agent.name, Some(agent)),
        Change::Activity { name, activity, .. } => {
            let reason = activity.reason.as_ref();
            let reason = reason.map_or_else(String::new, |reason| format!(": {}", visible(reason)));
            return format!("{} {name}{reason}", activity.state.as_str());
        }
        Change::Deleted { name, .. } => ("deleted", name, None),
        Change::Gap { .. } => return "gap: some changes are no longer kept".to_owned(),
    };
    let session = agent.and_then(|agent| agent.session.as_ref());
    let more = session.map(|session| {
        format!(
            " {} {}",
            session_text::state(session),
            session_text::health(session)
        )
    });
    format!("{event} {name}{}", more.unwrap_or_default())
}

fn parse_sort(word: &str) -> Result<AgentSort, String> {
    serde_json::from_value(word.into())
        .map_err(|_| "it must be created, name, status or waiting".to_owned())
}

fn parse_status(word: &str) -> Result<AgentStatus, String> {
    serde_json::from_value(word.into())
        .map_err(|_| "it must be pending, running, stopped, failed or lost".to_owned())
}
