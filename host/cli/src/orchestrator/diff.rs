use std::process::ExitCode;

use clap::Args;

use crate::connection::Connection;
use crate::failure::{Outcome, note};
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};
use crate::visible::visible_lines;

#[derive(Debug, Args)]
pub(crate) struct ShownDiff {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
}

impl ShownDiff {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = connection.agent(&self.name).await?;
        let diff = connection.client.diff(&agent.id).await;
        let diff = diff.map_err(|error| connection.explain(error))?;
        if output.is_json() || !diff.text.is_empty() {
            output.show(&diff, |diff| {
                visible_lines(diff.text.trim_end_matches('\n'))
            })?;
        } else {
            note("nothing has changed since the last commit");
        }
        if diff.truncated {
            note("there is more than this");
        }
        Ok(ExitCode::SUCCESS)
    }
}
