use std::process::ExitCode;

use agentd_api::terminal::Mode;
use agentd_api::{AuditEntry, AuditQuery, Page};
use clap::Args;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::table::table;
use crate::verb::name::{NAMED, parse_name};

/// The most that one page of `GET /audit` holds.
const LARGEST_PAGE: u64 = 200;

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only about this agent: its name or id, and of one that was deleted its id
    #[arg(long, value_name = "NAME", value_parser = parse_name, value_hint = NAMED)]
    agent: Option<String>,
    /// So many at most, the newest ones
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl Audit {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = match &self.agent {
            Some(name) => Some(connection.agent_id(name).await?),
            None => None,
        };
        let page = self.read(agent, connection).await?;
        output.show(&page, |page| text(&page.items))?;
        if page.items.is_empty() {
            note("nobody has asked for anything that is kept");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn read(
        &self,
        agent: Option<String>,
        connection: &Connection,
    ) -> Result<Page<AuditEntry>, Failure> {
        let mut query = AuditQuery {
            agent,
            ..AuditQuery::default()
        };
        let mut all = Page {
            items: Vec::new(),
            total: 0,
            next_cursor: None,
        };
        loop {
            let left = self.limit - all.items.len() as u64;
            query.limit = Some(left.min(LARGEST_PAGE));
            let page = connection.client.audit(&query).await;
            let page = page.map_err(|error| connection.explain(error))?;
            all.items.extend(page.items);
            (all.total, all.next_cursor) = (page.total, page.next_cursor);
            if all.next_cursor.is_none() || all.items.len() as u64 >= self.limit {
                return Ok(all);
            }
            query.cursor.clone_from(&all.next_cursor);
        }
    }
}

/// The oldest first, as a log has it.
fn text(entries: &[AuditEntry]) -> String {
    let dash = || "-".to_owned();
    table(
        ["AT", "WHO", "FROM", "REQUEST", "AGENT", "ANSWER"],
        entries.iter().rev().map(|entry| {
            let mode = entry.mode.map_or("", |mode| match mode {
                Mode::Rw => " (rw)",
                Mode::Ro => " (ro)",
            });
            let made = entry.made.as_ref();
            let made = made.map_or_else(String::new, |made| format!(" (made {made})"));
            [
                entry.at.clone(),
                entry.who.clone().unwrap_or_else(dash),
                entry.peer.clone(),
                format!("{}{mode}{made}", entry.request),
                entry.agent.clone().unwrap_or_else(dash),
                entry
                    .status
                    .map_or_else(|| "left".to_owned(), |status| status.to_string()),
            ]
        }),
    )
}
