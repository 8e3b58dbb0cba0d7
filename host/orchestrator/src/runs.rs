//! The runs of an agent: its sessions of now and before.

use agentd_api::{Page, PastSession, State};
use agentd_host::session::Run;
use agentd_host::{Error, ErrorKind, Result};

use crate::agent::AgentRecord;
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
            .or_else(|| record.session_id.clone());
        let wanted = match name {
            None => newest.clone().filter(|_| record.session.is_some()),
            Some(PREVIOUS) => before(&record, newest.as_deref()),
            Some(session) => Some(session.to_owned()),
        };
        if let Some(session) = &wanted
            && let Some(remains) = self.outputs.read(id, session).await?
        {
            return Ok(Run::Kept(Box::new(remains)));
        }
        Err(match name {
            None => self.no_session(&record.name),
            Some(PREVIOUS) if wanted.is_none() => nothing_before(&record.name),
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

    /// Of which session the recording is that a client asks for, and where it is.
    pub async fn recorded_session(&self, id: &str, name: Option<&str>) -> Result<(String, String)> {
        let record = self.record(id).await?;
        let newest = self.newest(id).map(|session| session.id.clone());
        let newest = newest.or_else(|| record.session_id.clone());
        let session = match name {
            None => newest.ok_or_else(|| self.no_session(&record.name)),
            Some(PREVIOUS) => {
                before(&record, newest.as_deref()).ok_or_else(|| nothing_before(&record.name))
            }
            Some(session) => Ok(session.to_owned()),
        };
        Ok((id.to_owned(), session?))
    }

    /// Removes the recordings of agents that are not there any more.
    pub async fn remove_old_recordings(&self) -> Result<()> {
        let Some(recordings) = self.sessions.recordings() else {
            return Ok(());
        };
        for agent in recordings.own().await {
            if self.store.get(&agent).await?.is_none() {
                recordings.remove(&agent).await;
            }
        }
        Ok(())
    }

    pub(crate) fn no_session(&self, name: &str) -> Error {
        let message = format!("agent `{name}` has no session");
        Error::conflict("no-session", message).hint("restart the agent")
    }
}

/// The session before the newest one.
fn before(record: &AgentRecord, newest: Option<&str>) -> Option<String> {
    let mut past = record.history.iter().rev();
    let before = past.find(|past| Some(past.id.as_str()) != newest);
    before.map(|past| past.id.clone())
}

fn nothing_before(name: &str) -> Error {
    let message = format!("agent `{name}` has no session before this one");
    Error::new(ErrorKind::NotFound, "gone", message)
        .hint("leave `session` out to read the newest one")
}
