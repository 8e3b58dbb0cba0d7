//! The runs of an agent: its sessions of now and before.

use agentd_api::{Page, PastSession, State};
use agentd_host::session::Run;
use agentd_host::{Error, ErrorKind, Result};

use crate::agents::Agents;

/// The name of the run before the newest one.
const PREVIOUS: &str = "previous";

impl Agents {
    /// The sessions of the agent that have ended, oldest first.
    pub async fn past_sessions(&self, id: &str) -> Result<Page<PastSession>> {
        let items = self.record(id).await?.history;
        Ok(Page {
            total: items.len() as u64,
            items,
            next_cursor: None,
        })
    }

    /// The newest run, or the one that a client names.
    pub async fn run(&self, id: &str, name: Option<&str>) -> Result<Run> {
        let newest = self.newest(id);
        if let Some(session) = &newest
            && name.is_none_or(|name| name == session.id)
        {
            if session.record().state == State::Exited && !session.has_own_output() {
                self.outputs.keep(session).await;
                if let Some(remains) = self.outputs.read(id, &session.id).await? {
                    return Ok(Run::Kept(Box::new(remains)));
                }
            }
            return Ok(Run::Here(session.clone()));
        }
        let record = self.record(id).await?;
        let newest = newest
            .map(|session| session.id.clone())
            .or(record.session_id);
        let wanted = match name {
            None => newest.clone().filter(|_| record.session.is_some()),
            Some(PREVIOUS) => {
                let mut past = record.history.iter().rev();
                let before = past.find(|past| Some(&past.id) != newest.as_ref());
                before.map(|past| past.id.clone())
            }
            Some(session) => Some(session.to_owned()),
        };
        if let Some(session) = &wanted
            && let Some(remains) = self.outputs.read(id, session).await?
        {
            return Ok(Run::Kept(Box::new(remains)));
        }
        Err(match name {
            None => self.no_session(&record.name),
            Some(PREVIOUS) if wanted.is_none() => {
                let message = format!("agent `{}` has no session before this one", record.name);
                Error::new(ErrorKind::NotFound, "gone", message)
                    .hint("leave `session` out to read the newest one")
            }
            Some(name) => {
                let was_there = record
                    .history
                    .iter()
                    .any(|past| Some(&past.id) == wanted.as_ref());
                match was_there {
                    true => {
                        let message = "what that session has written is no longer kept";
                        Error::new(ErrorKind::NotFound, "gone", message)
                            .hint("AGENTD_OUTPUT_KEPT_BYTES of the service says how much is kept")
                    }
                    false => Error::not_found("session", name),
                }
            }
        })
    }

    pub(crate) fn no_session(&self, name: &str) -> Error {
        let message = format!("agent `{name}` has no session");
        Error::conflict("no-session", message).hint("restart the agent")
    }
}
