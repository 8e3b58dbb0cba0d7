use std::process::ExitCode;

use agentd_api::{Agent, AgentPatch, RestartPolicy};
use clap::Args;

use super::create::parse_policy;
use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};

#[derive(Debug, Args)]
pub(crate) struct Policy {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// After which ends it is started again: never, on-failure or always
    #[arg(long, value_name = "POLICY", value_parser = parse_policy)]
    restart: Option<RestartPolicy>,
    /// How often in a row at most, or `none` for no bound
    #[arg(long, value_name = "COUNT", value_parser = parse_max)]
    max_restarts: Option<Max>,
}

/// A bound, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Max(Option<u32>);

impl Policy {
    /// Changes it, where something is to be changed, and prints it.
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut agent = connection.agent(&self.name).await?;
        if self.restart.is_some() || self.max_restarts.is_some() {
            let patch = AgentPatch {
                restart: self.restart,
                max_restarts: self.max_restarts.map(|Max(max)| max),
                ..AgentPatch::default()
            };
            let edited = connection.client.patch_agent(&agent.id, &patch).await;
            agent = edited.map_err(|error| connection.explain(error))?;
        }
        output.show(&agent, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The policy for reading.
pub(super) fn text(agent: &Agent) -> String {
    let policy = agent.restart.as_str();
    match agent.max_restarts {
        Some(max) => format!("{policy}, at most {max} in a row"),
        None => policy.to_owned(),
    }
}

fn parse_max(word: &str) -> Result<Max, String> {
    match word {
        "none" => Ok(Max(None)),
        _ => word
            .parse()
            .map(|max| Max(Some(max)))
            .map_err(|_| "it must be a number or `none`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_none() {
        assert_eq!(parse_max("3"), Ok(Max(Some(3))));
        assert_eq!(parse_max("none"), Ok(Max(None)));
        assert!(parse_max("-1").is_err());
    }
}
