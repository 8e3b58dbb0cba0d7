use std::process::ExitCode;

use agentd_api::PastSession;
use clap::Args;

use crate::connection::Connection;
use crate::failure::{Outcome, note};
use crate::output::Output;
use crate::table::table;
use crate::verb::name::{NAMED, parse_name};
use crate::verb::session_text;

#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
}

impl Sessions {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = connection.agent(&self.name).await?;
        let page = connection.client.past_sessions(&agent.id).await;
        let page = page.map_err(|error| connection.explain(error))?;
        output.show(&page, |page| text(&page.items))?;
        if page.items.is_empty() {
            note("no session of it has ended");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(sessions: &[PastSession]) -> String {
    table(
        ["STARTED", "ENDED", "EXIT", "ID"],
        sessions.iter().map(|session| {
            [
                session.started_at.clone(),
                session.ended_at.clone(),
                session
                    .exit
                    .as_ref()
                    .map_or_else(|| "unknown".to_owned(), session_text::exit_word),
                session.id.clone(),
            ]
        }),
    )
}
