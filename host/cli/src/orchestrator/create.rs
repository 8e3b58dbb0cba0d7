use std::process::ExitCode;

use agentd_api::RestartPolicy;
use clap::Args;

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::launch::Launch;

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    launch: Launch,
    /// A label for it, to find it by. Repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// After which ends it is started again: never, on-failure or always
    #[arg(long, value_name = "POLICY", value_parser = parse_policy)]
    restart: Option<RestartPolicy>,
    /// How often in a row at most
    #[arg(long, value_name = "COUNT")]
    max_restarts: Option<u32>,
}

impl Create {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut new = self.launch.into_request()?;
        new.labels.extend(self.labels);
        new.restart = self.restart;
        new.max_restarts = self.max_restarts;
        let agent = connection
            .client
            .create_agent(&new)
            .await
            .map_err(|error| connection.explain(error))?;
        output.show(&agent, |agent| agent.id.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn parse_policy(word: &str) -> Result<RestartPolicy, String> {
    serde_json::from_value(word.into())
        .map_err(|_| "it must be never, on-failure or always".to_owned())
}

fn parse_label(word: &str) -> Result<(String, String), String> {
    let (key, value) = word
        .split_once('=')
        .ok_or("it must look like `key=value`")?;
    Ok((key.to_owned(), value.to_owned()))
}
