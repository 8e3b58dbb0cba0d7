use std::process::ExitCode;

use agentd_api::{NewToken, Page, Scope, Token};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::age::{age, until};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::span::parse_span;
use crate::table::table;
use crate::verb::name::parse_name;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token and print it; it is not shown again
    Create(Create),
    /// List the tokens and the links
    List,
    /// Revoke tokens or links: what was opened with them ends
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// A name for it
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it allows: to look, also to type, or also all else
    #[arg(long)]
    scope: ScopeWord,
    /// Only for this agent: its name or id
    #[arg(long, value_name = "AGENT", conflicts_with = "label", value_parser = parse_name)]
    agent: Option<String>,
    /// Only for the agents with this label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    /// How long it counts, such as `30m`, `1h` or `7d`; without, until it is revoked
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    expires_in: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeWord {
    Read,
    Write,
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The tokens' names or ids
    #[arg(required = true, value_name = "TOKEN")]
    tokens: Vec<String>,
}

impl TokenVerb {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        let connection = &Connection::new(Service::Orchestrator, global)?;
        match self {
            TokenVerb::Create(create) => create.run(connection, output).await,
            TokenVerb::List => list(connection, output).await,
            TokenVerb::Revoke(revoke) => revoke.run(connection).await,
        }
    }
}

impl Create {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let agent = match &self.agent {
            Some(agent) => Some(connection.agent(agent).await?.id),
            None => None,
        };
        let new = NewToken {
            name: self.name,
            scope: match self.scope {
                ScopeWord::Read => Scope::Read,
                ScopeWord::Write => Scope::Write,
                ScopeWord::Admin => Scope::Admin,
            },
            agent,
            label: self.label,
            expires_in: self.expires_in,
        };
        let created = connection.client.create_token(&new).await;
        let created = created.map_err(|error| connection.explain(error))?;
        output.show(&created, |created| created.token.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    /// A failure is reported and does not keep the others from it.
    async fn run(self, connection: &Connection) -> Outcome {
        let known = tokens(connection).await?;
        let mut outcome = Ok(ExitCode::SUCCESS);
        for wanted in &self.tokens {
            let is_wanted = |token: &&Token| token.id == *wanted || token.name == *wanted;
            let revoked = match known.items.iter().find(is_wanted) {
                Some(token) => {
                    let revoked = connection.client.revoke_token(&token.id).await;
                    revoked.map_err(|error| connection.explain(error))
                }
                None => Err(Failure::new(format!("there is no token `{wanted}`"))
                    .hint("`agent token list` shows what there is")),
            };
            if let Err(failure) = revoked {
                failure.report();
                outcome = Err(Failure::Reported);
            }
        }
        outcome
    }
}

async fn list(connection: &Connection, output: &mut Output) -> Outcome {
    let page = tokens(connection).await?;
    output.show(&page, |page| text(&page.items))?;
    if page.items.is_empty() {
        note("there is only the service's own token");
    }
    Ok(ExitCode::SUCCESS)
}

async fn tokens(connection: &Connection) -> Result<Page<Token>, Failure> {
    let tokens = connection.client.tokens().await;
    tokens.map_err(|error| connection.explain(error))
}

fn text(tokens: &[Token]) -> String {
    let now = Timestamp::now();
    table(
        ["NAME", "SCOPE", "FOR", "EXPIRES IN", "USED", "ID"],
        tokens.iter().map(|token| {
            let agent = token.agent.as_ref().map(|agent| format!("agent {agent}"));
            let limit = agent.or_else(|| token.label.clone());
            let expires = token.expires_at.as_deref().map(|time| until(time, now));
            let used = token.last_used_at.as_deref();
            [
                token.name.clone(),
                token.scope.as_str().to_owned(),
                limit.unwrap_or_else(|| "all".to_owned()),
                expires.unwrap_or_else(|| "never".to_owned()),
                used.map_or_else(
                    || "never".to_owned(),
                    |time| format!("{} ago", age(time, now)),
                ),
                token.id.clone(),
            ]
        }),
    )
}
