use std::process::ExitCode;

use agentd_api::{Agent, Keep};
use clap::{Args, Subcommand};

use crate::attach::Attach;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;
use crate::table::fields;
use crate::verb::logs::Logs;
use crate::verb::name::{NAMED, parse_name};
use crate::verb::recorded::Recorded;
use crate::verb::screen::ShownScreen;
use crate::verb::send::Send;
use crate::verb::{doctor, info, session_text};
use crate::visible::visible;

mod audit;
mod create;
mod diff;
mod following;
mod label;
mod list;
mod live_table;
mod policy;
mod rename;
mod rows;
mod run;
mod search;
mod sessions;
mod share;
mod template;
mod wait;
mod watch;

use audit::Audit;
use create::Create;
use diff::ShownDiff;
use label::Label;
use list::List;
use policy::Policy;
use rename::Rename;
use run::Run;
pub(crate) use run::made_up;
use search::Search;
use sessions::Sessions;
use share::Share;
use wait::Wait;
pub(crate) use wait::{Goal, Outlook, wait_until};
use watch::Watch;

#[derive(Debug, Subcommand)]
pub(crate) enum OrchestratorVerb {
    /// Show the loaded backend
    Info,
    /// Show whether the service is well
    Health,
    /// List the agents
    #[command(visible_alias = "ls")]
    List(List),
    /// Create an agent and start it
    Create(Create),
    /// Create an agent here, start it and show it in this terminal
    Run(Run),
    /// Show all about an agent
    Show(Show),
    /// Give an agent another name
    Rename(Rename),
    /// Print and change an agent's labels
    Label(Label),
    /// Print and change when an agent is started again
    Policy(Policy),
    /// Show an agent in this terminal
    Attach(OfSession<Attach>),
    /// Print what an agent has written
    Logs(OfSession<Logs>),
    /// Look for a text in what agents have written
    Search(Search),
    /// Print what an agent's terminal shows now
    Screen(OfSession<ShownScreen>),
    /// Write the recording of what an agent's terminal has shown, as an asciicast
    Record(OfSession<Recorded>),
    /// Print what has changed in an agent's directory since the last commit there
    Diff(ShownDiff),
    /// List the sessions of an agent that have ended
    Sessions(Sessions),
    /// Type a prompt into an agent
    Send(Send),
    /// Wait until an agent waits for a person, has nothing to do, or has ended
    Wait(Wait),
    /// Show a live table of the agents in this terminal, who waits longest first
    Watch(Watch),
    /// Print a link that opens this agent alone, to look or to type
    Share(Share),
    /// End agents and keep their records
    Stop(Agents),
    /// End agents and start them again
    Restart(Agents),
    /// End agents and forget them
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// Print who asked for what, and what came of it
    Audit(Audit),
    /// Find out what does not work, and why: also of the database, and who uses it
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The agent's name or id
    #[arg(value_parser = parse_name, value_hint = NAMED)]
    name: String,
}

/// What shows a session, of any of an agent's.
#[derive(Debug, Args)]
pub(crate) struct OfSession<V: Args> {
    #[command(flatten)]
    verb: V,
    /// What is left of an earlier session: its id, or `previous` for the one before the newest
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Agents {
    /// The agents' names or ids
    #[arg(required = true, value_parser = parse_name, value_hint = NAMED)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    agents: Agents,
    /// Forget them even if their sessions cannot be ended now, as when their backend is gone; one that
    /// is seen again is ended then
    #[arg(long)]
    force: bool,
}

impl OrchestratorVerb {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        let connection = Connection::new(Service::Orchestrator, global)?;
        let outcome = self.ask(&connection, output).await;
        connection.compare_versions();
        outcome
    }

    async fn ask(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = &connection.client;
        match self {
            OrchestratorVerb::Info => info::info(connection, output).await,
            OrchestratorVerb::Health => info::health(connection, output).await,
            OrchestratorVerb::List(list) => list.run(connection, output).await,
            OrchestratorVerb::Create(create) => create.run(connection, output).await,
            OrchestratorVerb::Run(run) => run.run(connection, output).await,
            OrchestratorVerb::Show(show) => {
                let agent = connection.agent(&show.name).await?;
                output.show(&agent, details)?;
                Ok(ExitCode::SUCCESS)
            }
            OrchestratorVerb::Rename(rename) => rename.run(connection, output).await,
            OrchestratorVerb::Label(label) => label.run(connection, output).await,
            OrchestratorVerb::Policy(policy) => policy.run(connection, output).await,
            OrchestratorVerb::Attach(OfSession { verb, session }) => {
                verb.run(session, connection).await
            }
            OrchestratorVerb::Logs(OfSession { verb, session }) => {
                verb.run(session, connection, output).await
            }
            OrchestratorVerb::Screen(OfSession { verb, session }) => {
                verb.run(session, connection, output).await
            }
            OrchestratorVerb::Record(OfSession { verb, session }) => {
                verb.run(session, connection, output).await
            }
            OrchestratorVerb::Search(search) => search.run(connection, output).await,
            OrchestratorVerb::Diff(diff) => diff.run(connection, output).await,
            OrchestratorVerb::Sessions(sessions) => sessions.run(connection, output).await,
            OrchestratorVerb::Send(send) => send.run(connection).await,
            OrchestratorVerb::Wait(wait) => wait.run(connection, output).await,
            OrchestratorVerb::Watch(watch) => watch.run(connection, output).await,
            OrchestratorVerb::Share(share) => share.run(connection, output).await,
            OrchestratorVerb::Audit(audit) => audit.run(connection, output).await,
            OrchestratorVerb::Doctor => doctor::doctor(connection, output).await,
            OrchestratorVerb::Stop(agents) => {
                let stop = async |agent: Agent| client.stop_agent(&agent.id).await;
                agents.each(connection, stop).await
            }
            OrchestratorVerb::Restart(agents) => {
                let restart = async |agent: Agent| client.restart_agent(&agent.id).await;
                agents.each(connection, restart).await
            }
            OrchestratorVerb::Delete(Delete { agents, force }) => {
                let delete = async |agent: Agent| match force {
                    true => client.delete_agent_by_force(&agent.id).await,
                    false => client.delete_agent(&agent.id).await,
                };
                agents.each(connection, delete).await
            }
        }
    }
}

impl Agents {
    /// Does the same with each; a failure is reported and does not keep it from the others.
    async fn each(
        self,
        connection: &Connection,
        act: impl AsyncFn(Agent) -> Result<(), agentd_api::ClientError>,
    ) -> Outcome {
        let mut outcome = Ok(ExitCode::SUCCESS);
        for name in &self.names {
            let done = match connection.agent(name).await {
                Ok(agent) => act(agent).await.map_err(|error| connection.explain(error)),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = done {
                failure.report();
                outcome = Err(Failure::Reported);
            }
        }
        outcome
    }
}

fn details(agent: &Agent) -> String {
    let session = agent.session.as_ref();
    let json = |options: &serde_json::Map<_, _>| {
        (!options.is_empty()).then(|| serde_json::Value::from(options.clone()).to_string())
    };
    fields([
        ("Name", Some(agent.name.clone())),
        ("Id", Some(agent.id.clone())),
        ("Status", Some(agent.status.as_str().to_owned())),
        (
            "Labels",
            (!agent.labels.is_empty()).then(|| label::text(&agent.labels, ", ")),
        ),
        ("Session", session.map(session_text::state)),
        (
            "Health",
            session.map(|s| session_text::health(s).to_owned()),
        ),
        ("Restarts", Some(agent.restarts.to_string())),
        ("Restart", Some(policy::text(agent))),
        ("Restarts at", agent.next_restart_at.clone()),
        ("Reason", agent.restart_reason.as_deref().map(visible)),
        ("Prompt", agent.prompt.map(|p| p.as_str().to_owned())),
        ("Created", Some(agent.created_at.clone())),
        ("Backend", session.map(|s| s.backend_type.clone())),
        (
            "Command",
            session.map(|s| session_text::command(&s.command)),
        ),
        ("Directory", session.map(|s| s.working_dir.clone())),
        ("Environment", session.and_then(variables)),
        ("Options", session.and_then(|s| json(&s.options))),
        (
            "Keep",
            session.and_then(|s| match s.keep? {
                Keep::Block => Some("block".to_owned()),
                Keep::Drop => Some("drop".to_owned()),
            }),
        ),
        ("Recording", session.and_then(session_text::recording)),
        ("Process", session.and_then(|s| Some(s.pid?.to_string()))),
        (
            "Size",
            session.map(|s| format!("{}x{}", s.size.cols, s.size.rows)),
        ),
        ("Viewers", session.map(|s| s.viewers.to_string())),
        (
            "Attach with",
            session.and_then(|s| Some(session_text::command(s.attach_command.as_ref()?))),
        ),
    ])
}

/// The names of the variables: values are never shown.
fn variables(session: &agentd_api::Session) -> Option<String> {
    let names: Vec<&str> = session.env.keys().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
