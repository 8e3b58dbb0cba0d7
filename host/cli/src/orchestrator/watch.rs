use std::collections::BTreeMap;
use std::env;
use std::io::stdout;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use agentd_api::{Agent, AgentQuery, Change};
use clap::Args;
use jiff::Timestamp;
use rustix::termios::tcgetwinsize;
use tokio::time::interval;

use super::following::{Following, News, apply};
use super::live_table;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::full_screen::FullScreen;
use crate::output::Output;
use crate::signals::{Notice, Signals};

/// How often the table is drawn again without a change, for the times in it.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only agents with this label; repeatable: with all of them
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
}

impl Watch {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        if output.is_json() || !output.is_terminal() {
            return Err(Failure::new("a live table needs a terminal").hint(
                "`agent orchestrator list --watch` prints changes as they happen, and \
                 `agent orchestrator list --json` what there is",
            ));
        }
        let query = AgentQuery {
            labels: self.labels,
            ..AgentQuery::default()
        };
        live(connection, output, &query).await
    }
}

/// The table of those agents, until a signal ends it.
pub(super) async fn live(
    connection: &Connection,
    output: &mut Output,
    query: &AgentQuery,
) -> Outcome {
    // The stream is opened before the agents are read: a change in between is then seen twice
    // rather than never.
    let mut following = Following::open(connection).await?;
    let mut agents = by_id(connection, query).await?;
    let mut is_lost = false;
    let mut signals = Signals::listen()?;
    let mut redraw = interval(REDRAW);
    let _full_screen = FullScreen::enter()?;
    let colours = env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    loop {
        let news = {
            // A connection that is being made is not given up for a tick.
            let mut next = pin!(following.next());
            loop {
                tokio::select! {
                    news = &mut next => break news?,
                    _ = redraw.tick() => {}
                    notice = signals.next() => if let Notice::End(signal) = notice {
                        return Ok(exit_code(signal));
                    },
                }
                output.raw(frame(&agents, is_lost, colours).as_bytes())?;
            }
        };
        match news {
            News::Change(change) if !matches!(*change, Change::Gap { .. }) => {
                apply(&mut agents, query, *change);
            }
            News::Lost => is_lost = true,
            News::Change(_) | News::Again => {
                agents = by_id(connection, query).await?;
                is_lost = false;
            }
        }
        output.raw(frame(&agents, is_lost, colours).as_bytes())?;
    }
}

/// What a person ends with ^C is done; of any other signal, as a shell shows it.
fn exit_code(signal: i32) -> ExitCode {
    if signal == rustix::process::Signal::INT.as_raw() {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

async fn by_id(
    connection: &Connection,
    query: &AgentQuery,
) -> Result<BTreeMap<String, Agent>, Failure> {
    let agents = connection.client.all_agents(query).await;
    let agents = agents.map_err(|error| connection.explain(error))?;
    let by_id = agents.into_iter().map(|agent| (agent.id.clone(), agent));
    Ok(by_id.collect())
}

/// What the terminal shows from now on.
fn frame(agents: &BTreeMap<String, Agent>, is_lost: bool, colours: bool) -> String {
    let size = tcgetwinsize(stdout());
    let (cols, rows) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
    let lines = live_table::lines(agents.values(), Timestamp::now(), cols, rows, is_lost);
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("{}\x1b[K", line.painted(colours)))
        .collect();
    // One that is wider than it has characters ends at the edge, as the wrapping is off.
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}
