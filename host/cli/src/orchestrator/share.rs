use std::process::ExitCode;

use agentd_api::terminal::Mode;
use agentd_api::{Link, NewLink};
use clap::Args;
use jiff::Timestamp;

use crate::age::{age, until};
use crate::connection::Connection;
use crate::failure::{Outcome, note};
use crate::output::Output;
use crate::span::parse_span;
use crate::table::table;
use crate::verb::name::{NAMED, parse_name};

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// Whoever opens the link may also type
    #[arg(long)]
    rw: bool,
    /// How long it counts, such as `30m`, `1h` or `7d`
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_span)]
    expires_in: u64,
    /// List the links to the agent instead; `agent token revoke` takes their ids
    #[arg(long, conflicts_with_all = ["rw", "expires_in"])]
    list: bool,
}

impl Share {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = connection.agent(&self.name).await?;
        if self.list {
            let links = connection.client.links(&agent.id).await;
            let links = links.map_err(|error| connection.explain(error))?;
            output.show(&links, |links| text(&links.items))?;
            if links.items.is_empty() {
                note("there is no link to it");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let new = NewLink {
            mode: mode(self.rw),
            expires_in: self.expires_in,
        };
        let link = connection.client.create_link(&agent.id, &new).await;
        let link = link.map_err(|error| connection.explain(error))?;
        output.show(&link, |link| link.url.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn mode(types: bool) -> Mode {
    match types {
        true => Mode::Rw,
        false => Mode::Ro,
    }
}

fn text(links: &[Link]) -> String {
    let now = Timestamp::now();
    table(
        ["ID", "MODE", "EXPIRES IN", "USED"],
        links.iter().map(|link| {
            let used = link.last_used_at.as_deref();
            [
                link.id.clone(),
                link.mode.as_str().to_owned(),
                until(&link.expires_at, now),
                used.map_or_else(
                    || "never".to_owned(),
                    |time| format!("{} ago", age(time, now)),
                ),
            ]
        }),
    )
}
