use std::process::ExitCode;

use agentd_api::{Agent, ClientError, NewAgent, RestartPolicy};
use clap::Args;

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
    /// What to type into the program once it reads keys; `-` reads it from standard input
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut new = self.launch.into_request()?;
        new.prompt = self.record.prompt()?;
        let agent = self.record.create(new, connection).await;
        let agent = agent.map_err(|error| connection.explain(error))?;
        output.show(&agent, |agent| agent.id.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Record {
    /// The prompt, read once.
    pub(super) fn prompt(&self) -> Result<Option<String>, Failure> {
        match self.prompt.as_deref() {
            Some("-") => from_stdin().map(Some),
            prompt => Ok(prompt.map(str::to_owned)),
        }
    }

    /// Creates an agent that has this.
    pub(super) async fn create(
        &self,
        mut new: NewAgent,
        connection: &Connection,
    ) -> Result<Agent, ClientError> {
        new.labels.extend(self.labels.iter().cloned());
        new.restart = self.restart;
        new.max_restarts = self.max_restarts;
        connection.client.create_agent(&new).await
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
