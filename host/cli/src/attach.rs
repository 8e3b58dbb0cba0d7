//! `attach`: a session in the user's own terminal.

mod detach_keys;
mod detach_scanner;
mod ending;
mod input;
mod key;
mod keyboard;
mod link;
mod notice;
mod raw_mode;
mod reconnect;
mod screen;
mod screen_state;
mod viewer;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use agentd_api::terminal::{Mode, TerminalQuery};
use agentd_api::{Info, Session, State};
use clap::Args;
use tokio::time::sleep;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::service::Service;
use crate::verb::name::{NAMED, parse_name};
use crate::verb::session_text::command;
use detach_keys::DetachKeys;

/// How often a session that starts is looked at.
const STARTING: Duration = Duration::from_millis(200);

/// Shows a program in this terminal, until it ends or the detach keys are pressed. The exit code
/// is the program's own, or 128 and the number of the signal that ended it.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// What to show
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
    /// Watch only: nothing that is typed gets there
    #[arg(long)]
    read_only: bool,
    /// The keys that leave it running
    #[arg(long, value_name = "KEYS", default_value_t)]
    detach_keys: DetachKeys,
}

impl Attach {
    /// As without options.
    pub(crate) fn to(name: String) -> Self {
        Attach {
            name,
            read_only: false,
            detach_keys: DetachKeys::default(),
        }
    }

    /// Of the session that is named, or the newest one.
    pub(crate) async fn run(self, session: Option<String>, connection: &Connection) -> Outcome {
        let info = backend_of(connection, &self.name).await?;
        if info.has("terminal") {
            self.view(session, connection).await
        } else if info.has("attach-tmux") && session.is_none() {
            self.run_attach_command(connection).await
        } else {
            let (noun, name) = (connection.service.noun(), &self.name);
            let backend = &info.backend_type;
            let message = format!("the active backend `{backend}` has no terminal to attach to");
            let of = session.map_or("--follow".to_owned(), |id| format!("--session {id}"));
            Err(Failure::new(message)
                .hint(format!("`agent {noun} logs {name} {of}` shows its output")))
        }
    }

    async fn view(self, session: Option<String>, connection: &Connection) -> Outcome {
        let mode = if self.read_only { Mode::Ro } else { Mode::Rw };
        let console = connection.console(&self.name).await?;
        let query = TerminalQuery {
            mode,
            session,
            ..TerminalQuery::default()
        };
        let ending = viewer::view(console, query, self.detach_keys, connection).await?;
        ending.report(connection.service, &self.name)
    }

    /// Becomes the program that shows the session.
    async fn run_attach_command(self, connection: &Connection) -> Outcome {
        let argv = attach_command(connection, &self.name).await?;
        let shown = command(&argv);
        if self.read_only {
            let message = "this backend's sessions cannot be attached to with `--read-only`";
            return Err(
                Failure::new(message).hint(format!("`{shown}` attaches; its options may help"))
            );
        }
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| Failure::new("the service gave an empty attach command"))?;
        let error = Command::new(program).args(arguments).exec();
        Err(Failure::new(format!("cannot run `{program}`: {error}"))
            .hint(format!("on the service's machine, run `{shown}`")))
    }
}

/// What can be done with a session: its own backend may be another than the default one.
async fn backend_of(connection: &Connection, name: &str) -> Result<Info, Failure> {
    let info = connection.client.info().await;
    let mut info = info.map_err(|error| connection.explain(error))?;
    // That there is none is said by whoever asks for more of it.
    if let Ok(session) = session(connection, name).await
        && session.backend_type != info.backend_type
    {
        info.backend_type = session.backend_type;
        info.capabilities = session.capabilities;
    }
    Ok(info)
}

/// The argv that shows a session, once it has one.
async fn attach_command(connection: &Connection, name: &str) -> Result<Vec<String>, Failure> {
    loop {
        let session = session(connection, name).await?;
        match (session.attach_command, session.state) {
            (Some(argv), _) => return Ok(argv),
            (None, State::Starting) => sleep(STARTING).await,
            (None, _) => {
                let noun = connection.service.noun();
                return Err(Failure::new(format!("`{name}` has nothing to attach to"))
                    .hint(format!("`agent {noun} logs {name}` shows its output")));
            }
        }
    }
}

async fn session(connection: &Connection, name: &str) -> Result<Session, Failure> {
    match connection.service {
        Service::Wrap => connection
            .client
            .session(name)
            .await
            .map_err(|error| connection.explain(error)),
        Service::Orchestrator => connection.agent(name).await?.session.ok_or_else(|| {
            Failure::new(format!("agent `{name}` has no session"))
                .hint(format!("`agent orchestrator restart {name}` starts one"))
        }),
    }
}
