use std::process::ExitCode;

use agentd_api::AgentPatch;
use clap::Args;

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};

#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// Its new name
    #[arg(value_name = "NEW", value_parser = parse_name)]
    to: String,
}

impl Rename {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = connection.agent(&self.name).await?;
        let patch = AgentPatch {
            name: Some(self.to),
            ..AgentPatch::default()
        };
        let renamed = connection.client.patch_agent(&agent.id, &patch).await;
        let renamed = renamed.map_err(|error| connection.explain(error))?;
        if output.is_json() {
            output.show(&renamed, |agent| agent.name.clone())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
