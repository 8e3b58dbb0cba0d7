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

/// The kind of an agent that is a shell.
const SHELL: &str = "general";

/// So many made-up names are tried.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The program: claude-code, codex, opencode, gemini, crush or general (a shell) [default: the
    /// template's, or else general]
    #[arg(value_name = "KIND")]
    agent: Option<String>,
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
        connection.client.info().await.map_err(explain)?;
        let agent = self.create(connection).await?;
        if is_shown && can_be_shown(&agent) {
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
        let new = self
            .manner
            .into_request(self.name.unwrap_or_default(), self.agent)?;
        let mut new = self.record.complete(new)?;
        let program = new.agent.clone().unwrap_or_else(|| SHELL.to_owned());
        if new.command.is_none() {
            new.agent = Some(program.clone());
        }
        if is_made_up {
            new.name = made_up(&program);
        }
        let mut attempts = 1;
        loop {
            match connection.client.create_agent(&new).await {
                Err(error) if is_made_up && attempts < ATTEMPTS && is_taken(&error) => {
                    attempts += 1;
                    new.name = made_up(&program);
                }
                created => return created.map_err(|error| connection.explain(error)),
            }
        }
    }
}

/// Whether there is something to attach to.
fn can_be_shown(agent: &Agent) -> bool {
    let session = agent.session.as_ref();
    session.is_some_and(|session| session.has("terminal") || session.has("attach-tmux"))
}

fn is_taken(error: &ClientError) -> bool {
    error.code() == Some("name-taken")
}

/// The program's name and four digits, as there may be others of it.
pub(crate) fn made_up(agent: &str) -> String {
    let any = uuid::Uuid::new_v4().simple().to_string();
    format!("{agent}-{}", &any[..4])
}
