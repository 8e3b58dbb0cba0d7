use std::process::ExitCode;

use agentd_api::{AgentPatch, Labels};
use clap::Args;

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::verb::name::{NAMED, parse_name};
use crate::visible::visible_lines;

#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// A label to set, or with a `-` after its key one to remove. None: only print them
    #[arg(value_name = "KEY=VALUE|KEY-", value_parser = parse_change)]
    changes: Vec<(String, Option<String>)>,
}

impl Label {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut agent = connection.agent(&self.name).await?;
        if !self.changes.is_empty() {
            let patch = AgentPatch {
                labels: self.changes.into_iter().collect(),
                ..AgentPatch::default()
            };
            let edited = connection.client.patch_agent(&agent.id, &patch).await;
            agent = edited.map_err(|error| connection.explain(error))?;
        }
        if output.is_json() || !agent.labels.is_empty() {
            output.show(&agent, |agent| visible_lines(&text(&agent.labels, "\n")))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Labels for reading, with `between` two of them.
pub(super) fn text(labels: &Labels, between: &str) -> String {
    let label = |(key, value): (&String, &String)| format!("{key}={value}");
    labels.iter().map(label).collect::<Vec<_>>().join(between)
}

fn parse_change(word: &str) -> Result<(String, Option<String>), String> {
    match word.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
        None => match word.strip_suffix('-') {
            Some(key) => Ok((key.to_owned(), None)),
            None => Err("it must look like `key=value`, or `key-` to remove it".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_sets_or_removes() {
        let set = |key: &str, value: &str| Ok((key.to_owned(), Some(value.to_owned())));
        assert_eq!(parse_change("a=b=c"), set("a", "b=c"));
        assert_eq!(parse_change("a="), set("a", ""));
        assert_eq!(parse_change("a=-"), set("a", "-"));
        assert_eq!(parse_change("a-"), Ok(("a".to_owned(), None)));
        assert!(parse_change("a").is_err());
    }
}
