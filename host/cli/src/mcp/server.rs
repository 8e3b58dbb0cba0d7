use std::sync::Arc;
use std::time::Duration;

use agentd_api::{AgentQuery, ClientError, Input, LogQuery, NewAgent, ScreenQuery, SearchQuery};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde_json::json;
use tokio::time::timeout;

use super::answer;
use super::arguments::{
    CreateAgent, ListAgents, OfAgent, PromptAgent, ReadLogs, Until, WaitForAgent,
};
use super::ending::Ending;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::global::Global;
use crate::orchestrator::{Goal, Outlook, made_up, wait_until};
use crate::service::Service;

/// What a client reads of it first.
const INSTRUCTIONS: &str = "Runs coding agents and other programs in terminals that outlive this session. Create one \
    with a prompt, wait until it is idle or waits for a person, and read its screen or logs. A tool that fails says \
    what to do.";

/// How long a wait takes at most, in seconds.
const LONGEST_WAIT: u64 = 3600;
const USUAL_WAIT: u64 = 60;

/// The largest page of a list.
const LARGEST_PAGE: u64 = 200;
const USUAL_PAGE: u64 = 50;

/// So many lines of a log are read at most.
const LONGEST_TAIL: u64 = 2000;
const USUAL_TAIL: u64 = 100;

/// The tools of one session of the protocol.
#[derive(Clone)]
pub(super) struct Server {
    global: Arc<Global>,
    ending: Ending,
}

impl Server {
    pub(super) fn new(global: Global, ending: Ending) -> Self {
        Server {
            global: Arc::new(global),
            ending,
        }
    }

    /// Does something at the service, as long as the client wants it.
    async fn answer(
        &self,
        context: RequestContext<RoleServer>,
        act: impl AsyncFnOnce(Connection) -> Result<CallToolResult, Failure>,
    ) -> CallToolResult {
        let acted = async {
            let connection = Connection::new(Service::Orchestrator, &self.global)?;
            act(connection).await
        };
        let acted = tokio::select! {
            acted = acted => acted,
            // Nobody reads it.
            () = context.ct.cancelled() => Err(Failure::new("it was cancelled")),
        };
        acted.unwrap_or_else(|failure| answer::failure(&failure))
    }
}

#[tool_router]
impl Server {
    /// The agents.
    #[tool(
        description = "List agents with their status and what they are doing, who waits for a person first"
    )]
    async fn list_agents(
        &self,
        Parameters(wanted): Parameters<ListAgents>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let status = wanted
                .status
                .map(|word| serde_json::from_value(word.into()));
            let status = status.transpose().map_err(|_| {
                Failure::new("there is no such status")
                    .hint("give pending, running, stopped, failed or lost")
            })?;
            let query = AgentQuery {
                status,
                labels: wanted.labels,
                sort: agentd_api::AgentSort::Waiting,
                limit: Some(wanted.limit.unwrap_or(USUAL_PAGE).clamp(1, LARGEST_PAGE)),
                cursor: wanted.cursor,
                ..AgentQuery::default()
            };
            let page = connection.client.agents(&query).await;
            let page = page.map_err(|error| connection.explain(error))?;
            Ok(answer::value(&answer::agents(&page)))
        })
        .await
    }

    /// A new agent.
    #[tool(description = "Create an agent and start it, with a prompt if one is given")]
    async fn create_agent(
        &self,
        Parameters(wanted): Parameters<CreateAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let kind = wanted.agent.as_deref().unwrap_or("general").to_owned();
            let working_dir = match wanted.working_dir {
                Some(directory) => directory,
                None => here()?,
            };
            let new = NewAgent {
                name: wanted.name.unwrap_or_else(|| made_up(&kind)),
                working_dir,
                backend: wanted.backend,
                agent: wanted.agent,
                command: wanted.command,
                model: wanted.model,
                env: wanted.env,
                labels: wanted.labels,
                prompt: wanted.prompt,
                ..NewAgent::default()
            };
            let agent = connection.client.create_agent(&new).await;
            let agent = agent.map_err(|error| connection.explain(error))?;
            Ok(answer::value(&answer::agent(&agent)))
        })
        .await
    }

    /// Types something.
    #[tool(description = "Type a prompt into an agent, followed by Enter")]
    async fn prompt_agent(
        &self,
        Parameters(wanted): Parameters<PromptAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let agent = connection.agent(&wanted.agent).await?;
            let input = Input {
                text: wanted.text,
                submit: wanted.submit.unwrap_or(true),
            };
            let typed = connection
                .client
                .agent_console(&agent.id)
                .input(&input)
                .await;
            typed.map_err(|error| connection.explain(error))?;
            Ok(answer::value(&json!({ "id": agent.id, "typed": true })))
        })
        .await
    }

    /// Waits for an agent.
    #[tool(
        description = "Wait until an agent waits for a person, has nothing to do, or has ended; tells which it was, or \
                       that the time is over"
    )]
    async fn wait_for_agent(
        &self,
        Parameters(wanted): Parameters<WaitForAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let ending = self.ending.clone();
        self.answer(context, async move |connection| {
            let seconds = wanted.timeout_seconds.unwrap_or(USUAL_WAIT);
            let span = Duration::from_secs(seconds.clamp(1, LONGEST_WAIT));
            let goal = match wanted.until {
                Until::Waiting => Goal::Waiting,
                Until::Idle => Goal::Idle,
                Until::Exit => Goal::Exit,
            };
            let outlook = tokio::select! {
                outlook = timeout(span, wait_until(&connection, &wanted.agent, goal)) => outlook,
                () = ending.come() => return Err(Failure::new("the client has left")),
            };
            let (result, agent) = match outlook {
                Err(_) => ("timeout", Some(connection.agent(&wanted.agent).await?)),
                Ok(outlook) => match outlook? {
                    Outlook::Reached(agent) => ("reached", Some(agent)),
                    Outlook::Ended(agent) => ("ended", Some(agent)),
                    Outlook::Deleted => ("deleted", None),
                },
            };
            let agent = agent.as_ref().map(answer::agent);
            Ok(answer::value(&json!({ "result": result, "agent": agent })))
        })
        .await
    }

    /// The screen.
    #[tool(
        description = "Read what an agent's terminal shows now, as text; where there is no terminal, the last lines of \
                       its log"
    )]
    async fn read_screen(
        &self,
        Parameters(wanted): Parameters<OfAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let agent = connection.agent(&wanted.agent).await?;
            let console = connection.client.agent_console(&agent.id);
            match console.screen(&ScreenQuery::default()).await {
                Ok(screen) => Ok(answer::printed(&screen.text)),
                Err(error) if error.code() == Some("no-terminal") => {
                    let rows = agent.session.map_or(USUAL_TAIL, |s| s.size.rows.into());
                    Ok(answer::printed(
                        &last_lines(&connection, &agent.id, rows).await?,
                    ))
                }
                Err(error) => Err(connection.explain(error)),
            }
        })
        .await
    }

    /// The log.
    #[tool(description = "Read the last lines of an agent's log, or the lines in which a text is")]
    async fn read_logs(
        &self,
        Parameters(wanted): Parameters<ReadLogs>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let agent = connection.agent(&wanted.agent).await?;
            let tail = wanted.tail.unwrap_or(USUAL_TAIL).clamp(1, LONGEST_TAIL);
            let text = match wanted.search {
                None => last_lines(&connection, &agent.id, tail).await?,
                Some(q) => {
                    let query = SearchQuery {
                        q,
                        regex: wanted.regex,
                        context: Some(0),
                        limit: Some(tail.min(LARGEST_PAGE)),
                        cursor: None,
                    };
                    let found = connection.client.search(Some(&agent.id), &query).await;
                    let found = found.map_err(|error| connection.explain(error))?;
                    let lines = found.items.into_iter().map(|found| found.line);
                    lines.collect::<Vec<_>>().join("\n")
                }
            };
            Ok(answer::printed(&text))
        })
        .await
    }

    /// Ends an agent.
    #[tool(description = "End an agent's program and keep its record and logs")]
    async fn stop_agent(
        &self,
        Parameters(wanted): Parameters<OfAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async move |connection| {
            let explain = |error: ClientError| connection.explain(error);
            let agent = connection.agent(&wanted.agent).await?;
            connection
                .client
                .stop_agent(&agent.id)
                .await
                .map_err(explain)?;
            let agent = connection.client.agent(&agent.id).await.map_err(explain)?;
            Ok(answer::value(&answer::agent(&agent)))
        })
        .await
    }
}

#[tool_handler]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("agentd", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}

async fn last_lines(connection: &Connection, id: &str, tail: u64) -> Result<String, Failure> {
    let query = LogQuery {
        tail: Some(tail),
        ..LogQuery::default()
    };
    let explain = |error| connection.explain(error);
    let console = connection.client.agent_console(id);
    let mut lines = console.logs(&query).await.map_err(explain)?;
    let mut text = String::new();
    while let Some(line) = lines.next().await.map_err(explain)? {
        text += &line.line;
        text.push('\n');
    }
    Ok(text)
}

/// The directory that this server works in.
fn here() -> Result<String, Failure> {
    let here = std::env::current_dir()?.into_os_string().into_string();
    here.map_err(|here| Failure::new(format!("`{}` is not UTF-8", here.display())))
}
