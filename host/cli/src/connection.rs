use std::env;
use std::path::Path;

use agentd_api::client::Console;
use agentd_api::{Agent, AgentQuery, Client, ClientError};

use crate::failure::{Failure, note};
use crate::global::Global;
use crate::service::Service;
use crate::socket;
use crate::token::Token;
use crate::visible::visible_lines;

/// So much of an id is taken for one: less could as well be a name that is gone.
const PREFIX: usize = 6;

/// The service that a verb talks to.
pub(crate) struct Connection {
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) token: Token,
}

impl Connection {
    pub(crate) fn new(service: Service, global: &Global) -> Result<Connection, Failure> {
        let url = global
            .url
            .clone()
            .or_else(|| env::var(service.url_variable()).ok())
            .filter(|url| !url.is_empty());
        let is_default = url.is_none();
        let url = match url {
            Some(url) => {
                if let Some(path) = url.strip_prefix("unix:") {
                    socket::is_served(Path::new(path))?;
                }
                url
            }
            None => socket::find(service)?.map_or_else(
                || service.default_url().to_owned(),
                |path| format!("unix:{}", path.display()),
            ),
        };
        let token = Token::find(global.token.as_deref())?;
        let client = match is_default {
            true => Client::of_this_machine(&url, token.value())?,
            false => Client::trusting(&url, token.value(), &global.authorities()?)?,
        };
        Ok(Connection {
            service,
            client,
            token,
        })
    }

    /// Says so if the service that has answered is of another version than this command.
    pub(crate) fn compare_versions(&self) {
        let ours = env!("CARGO_PKG_VERSION");
        if let Some(version) = self.client.service_version().filter(|its| *its != ours) {
            let said = format!(
                "note: this is `agent` {ours}, and the service at {} is {version}; \
                 some of it may not work\n\nhint: install both from the same release",
                self.client.url()
            );
            note(&visible_lines(&said));
        }
    }

    /// A client's error, with a hint that knows where address and token come from.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        match &error {
            ClientError::Unreachable { .. } => Failure::from(error).hint(format!(
                "start `{}`, or name its address with `--url` or `{}`",
                self.service.program(),
                self.service.url_variable()
            )),
            ClientError::Stranger { .. } => Failure::from(error)
                .hint("look whose socket that is, or name another address with `--url`"),
            ClientError::Unproven { .. } => Failure::from(error).hint(self.token.hint()),
            ClientError::Problem(problem) if problem.status == 401 => {
                Failure::from(error).hint(self.token.hint())
            }
            ClientError::Problem(problem) if problem.status == 404 && problem.hint.is_none() => {
                Failure::from(error).hint(format!(
                    "`agent {} list` shows what there is",
                    self.service.noun()
                ))
            }
            _ => error.into(),
        }
    }

    /// The agent with this id or, failing that, of this name or with the only id that begins so.
    pub(crate) async fn agent(&self, name_or_id: &str) -> Result<Agent, Failure> {
        if looks_like_id(name_or_id) {
            match self.client.agent(name_or_id).await {
                Err(error) if error.status() == Some(404) => {}
                found => return found.map_err(|error| self.explain(error)),
            }
        }
        let named = self.client.agent_named(name_or_id).await;
        if let Some(agent) = named.map_err(|error| self.explain(error))? {
            return Ok(agent);
        }
        let begin_so = self.agents_by_prefix(name_or_id).await;
        let mut begin_so = begin_so.map_err(|error| self.explain(error))?;
        match begin_so.len() {
            1 => Ok(begin_so.remove(0)),
            0 => Err(Failure::new(format!("there is no agent `{name_or_id}`"))
                .hint("`agent orchestrator list` shows what there is")),
            many => Err(Failure::new(format!(
                "the ids of {many} agents begin with `{name_or_id}`"
            ))
            .hint("give more of it")),
        }
    }

    /// Those whose ids begin so, where that is enough of one.
    async fn agents_by_prefix(&self, word: &str) -> Result<Vec<Agent>, ClientError> {
        if word.len() < PREFIX || !is_of_id(word) {
            return Ok(Vec::new());
        }
        let mut agents = self.client.all_agents(&AgentQuery::default()).await?;
        agents.retain(|agent| agent.id.starts_with(word));
        Ok(agents)
    }

    /// The id of the agent of this name, and an id as it is, which may be that of one that was deleted.
    pub(crate) async fn agent_id(&self, name_or_id: &str) -> Result<String, Failure> {
        if looks_like_id(name_or_id) {
            return Ok(name_or_id.to_owned());
        }
        Ok(self.agent(name_or_id).await?.id)
    }

    /// The console of the session or agent of this name (or id).
    pub(crate) async fn console(&self, name: &str) -> Result<Console, Failure> {
        Ok(match self.service {
            Service::Wrap => self.client.session_console(name),
            Service::Orchestrator => self.client.agent_console(&self.agent(name).await?.id),
        })
    }
}

/// Whether a word has the form of a UUID (which a name may have, too).
fn looks_like_id(word: &str) -> bool {
    word.len() == 36 && is_of_id(word)
}

/// Whether a word has the form of a piece of one.
fn is_of_id(word: &str) -> bool {
    word.bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
