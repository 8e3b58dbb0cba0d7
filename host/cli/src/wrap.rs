use std::process::ExitCode;

use agentd_api::Session;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::age::age;
use crate::attach::Attach;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome, note};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::table::table;
use crate::verb::launch::Launch;
use crate::verb::logs::Logs;
use crate::verb::name::{NAMED, parse_name};
use crate::verb::recorded::Recorded;
use crate::verb::screen::ShownScreen;
use crate::verb::send::Send;
use crate::verb::{doctor, info, session_text};

#[derive(Debug, Subcommand)]
pub(crate) enum WrapVerb {
    /// Show the loaded backend
    Info,
    /// Show whether the service is well
    Health,
    /// List the sessions
    List,
    /// Start a session
    Launch(Launch),
    /// Show a session in this terminal
    Attach(Attach),
    /// Print what a session has written
    Logs(Logs),
    /// Print what a session's terminal shows now
    Screen(ShownScreen),
    /// Write the recording of what a session's terminal has shown, as an asciicast
    Record(Recorded),
    /// Type a prompt into a session
    Send(Send),
    /// End sessions and forget them
    Kill(Kill),
    /// Find out what does not work, and why
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The sessions
    #[arg(required = true, value_parser = parse_name, value_hint = NAMED)]
    names: Vec<String>,
}

impl WrapVerb {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        let connection = Connection::new(Service::Wrap, global)?;
        let outcome = self.ask(&connection, output).await;
        connection.compare_versions();
        outcome
    }

    async fn ask(self, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            WrapVerb::Info => info::info(connection, output).await,
            WrapVerb::Health => info::health(connection, output).await,
            WrapVerb::List => list(connection, output).await,
            WrapVerb::Launch(launch) => start(launch, connection, output).await,
            WrapVerb::Attach(attach) => attach.run(None, connection).await,
            WrapVerb::Logs(logs) => logs.run(None, connection, output).await,
            WrapVerb::Screen(screen) => screen.run(None, connection, output).await,
            WrapVerb::Record(recorded) => recorded.run(None, connection, output).await,
            WrapVerb::Send(send) => send.run(connection).await,
            WrapVerb::Kill(kill) => kill.run(connection).await,
            WrapVerb::Doctor => doctor::doctor(connection, output).await,
        }
    }
}

async fn list(connection: &Connection, output: &mut Output) -> Outcome {
    let page = connection
        .client
        .sessions()
        .await
        .map_err(|error| connection.explain(error))?;
    output.show(&page, |page| sessions(&page.items))?;
    if page.items.is_empty() {
        note("no sessions; `agent wrap launch NAME` starts one");
    }
    Ok(ExitCode::SUCCESS)
}

fn sessions(sessions: &[Session]) -> String {
    let now = Timestamp::now();
    table(
        [
            "NAME", "STATE", "HEALTH", "BACKEND", "PID", "SIZE", "VIEWERS", "AGE", "COMMAND",
        ],
        sessions.iter().map(|session| {
            [
                session.name.clone(),
                session_text::state(session),
                session_text::health(session).to_owned(),
                session.backend_type.clone(),
                session.pid.map_or("-".into(), |pid| pid.to_string()),
                format!("{}x{}", session.size.cols, session.size.rows),
                session.viewers.to_string(),
                age(&session.created_at, now),
                session_text::command(&session.command),
            ]
        }),
    )
}

async fn start(launch: Launch, connection: &Connection, output: &mut Output) -> Outcome {
    let session = connection
        .client
        .create_session(&launch.into_request()?)
        .await
        .map_err(|error| connection.explain(error))?;
    output.show(&session, |session| session.name.clone())?;
    Ok(ExitCode::SUCCESS)
}

impl Kill {
    async fn run(self, connection: &Connection) -> Outcome {
        let mut outcome = Ok(ExitCode::SUCCESS);
        for name in &self.names {
            if let Err(error) = connection.client.delete_session(name).await {
                connection.explain(error).report();
                outcome = Err(Failure::Reported);
            }
        }
        outcome
    }
}
