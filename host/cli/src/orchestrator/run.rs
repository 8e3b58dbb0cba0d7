use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use agentd_api::{Agent, ClientError};
use clap::Args;

use super::create::Record;
use crate::attach::Attach;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::output::Output;
use crate::verb::launch::Manner;
use crate::verb::name::parse_name;

/// So many made-up names are tried.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The program: claude-code, codex, opencode, gemini, crush or general (a shell)
    #[arg(value_name = "KIND", default_value = "general")]
    agent: String,
    /// Its name; else one is made up from the program's
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,
    /// Print its name instead of showing it here
    #[arg(long, short)]
    detach: bool,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    record: Record,
}

impl Run {
    pub(crate) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let explain = |error| connection.explain(error);
        let is_shown = !self.detach && stdin().is_terminal() && stdout().is_terminal();
        // Before there is an agent whose name only this command knows.
        let info = connection.client.info().await.map_err(explain)?;
        let agent = self.create(connection).await?;
        if is_shown && (info.has("terminal") || info.has("attach-tmux")) {
            note(&format!(
                "{} runs in {}; `agent attach {0}` shows it again",
                agent.name,
                agent
                    .session
                    .map_or_else(String::new, |session| session.working_dir),
            ));
            return Attach::to(agent.id).run(None, connection).await;
        }
        output.show(&agent, |agent| agent.name.clone())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn create(self, connection: &Connection) -> Result<Agent, Failure> {
        let is_made_up = self.name.is_none();
        let name = self.name.unwrap_or_else(|| made_up(&self.agent));
        let mut new = self.manner.into_request(name, Some(self.agent.clone()))?;
        new.prompt = self.record.prompt()?;
        let mut attempts = 1;
        loop {
            match self.record.create(new.clone(), connection).await {
                Err(error) if is_made_up && attempts < ATTEMPTS && is_taken(&error) => {
                    attempts += 1;
                    new.name = made_up(&self.agent);
                }
                created => return created.map_err(|error| connection.explain(error)),
            }
        }
    }
}

fn is_taken(error: &ClientError) -> bool {
    error.code() == Some("name-taken")
}

/// The program's name and four digits, as there may be others of it.
pub(crate) fn made_up(agent: &str) -> String {
    let any = uuid::Uuid::new_v4().simple().to_string();
    format!("{agent}-{}", &any[..4])
}
