use std::process::ExitCode;

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
}

impl Create {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut new = self.launch.into_request()?;
        new.labels.extend(self.labels);
        let agent = connection
            .client
            .create_agent(&new)
            .await
            .map_err(|error| connection.explain(error))?;
        output.show(&agent, |agent| agent.id.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn parse_label(word: &str) -> Result<(String, String), String> {
    let (key, value) = word
        .split_once('=')
        .ok_or("it must look like `key=value`")?;
    Ok((key.to_owned(), value.to_owned()))
}
