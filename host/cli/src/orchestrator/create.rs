use std::path::PathBuf;
use std::process::ExitCode;

use agentd_api::{NewAgent, RestartPolicy};
use clap::Args;

use super::template::Template;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::verb::launch::Launch;
use crate::verb::send::from_stdin;

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    launch: Launch,
    #[command(flatten)]
    record: Record,
}

/// What is kept of an agent beside its session.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// A label for it, to find it by. Repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// After which ends it is started again: never, on-failure or always
    #[arg(long, value_name = "POLICY", value_parser = parse_policy)]
    restart: Option<RestartPolicy>,
    /// How often in a row at most
    #[arg(long, value_name = "COUNT")]
    max_restarts: Option<u32>,
    /// A file with what agents of a project have in common, such as its `agentd.toml`
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// What to type into the program once it reads keys; `-` reads it from standard input
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let new = self.record.complete(self.launch.into_request()?)?;
        let agent = connection.client.create_agent(&new).await;
        let agent = agent.map_err(|error| connection.explain(error))?;
        output.show(&agent, |agent| agent.id.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Record {
    /// The request with all this; the prompt is read.
    pub(super) fn complete(self, mut new: NewAgent) -> Result<NewAgent, Failure> {
        new.prompt = match self.prompt.as_deref() {
            Some("-") => Some(from_stdin()?),
            _ => self.prompt,
        };
        new.labels.extend(self.labels);
        new.restart = self.restart;
        new.max_restarts = self.max_restarts;
        if let Some(path) = &self.template {
            Template::read(path)?.complete(&mut new)?;
        }
        Ok(new)
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
