use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_api::PastSession;
use agentd_host::session::{Remains, Session};
use agentd_host::{ErrorKind, Result};
use tokio::time::sleep;

use crate::outputs::OutputLimits;
use crate::store::Store;
use crate::transaction::Transaction;

/// So much is held at most, in bytes; the oldest goes first.
const MOST: usize = 16 << 20;

/// How long until the disk is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What a session of an agent left.
#[derive(Clone)]
pub struct Output {
    pub owner: String,
    pub ended: PastSession,
    pub remains: Remains,
    /// Whose keeper has it until it is kept here.
    pub session: Option<Arc<Session>>,
}

impl Output {
    /// Tries to keep it. Then no keeper needs to have the session any more.
    pub async fn save(&self, store: &Arc<Store>, limits: OutputLimits) -> Result<()> {
        let Output {
            owner,
            ended,
            remains,
            session,
        } = self.clone();
        let work = move |transaction: &mut Transaction<'_>| {
            transaction.keep_output(&owner, &ended, &remains, limits)
        };
        store.write_ahead(work).await?;
        if let Some(session) = session {
            session.let_go();
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let screen = self.remains.screen.as_ref();
        self.remains.lines.len() + screen.map_or(0, |screen| screen.len())
    }
}

/// Outputs that the disk has not taken, in memory until there is room for them.
#[derive(Default)]
pub struct Held {
    queue: Mutex<VecDeque<Output>>,
}

impl Held {
    /// One more. True if from now on somebody has to [`save`](Self::save) them.
    pub fn push(&self, output: Output) -> bool {
        let mut queue = self.lock();
        let is_first = queue.is_empty();
        queue.push_back(output);
        while queue.len() > 1 && queue.iter().map(Output::size).sum::<usize>() > MOST {
            if let Some(lost) = queue.pop_front() {
                tracing::warn!(session = %lost.remains.name, "its output is lost: too many wait");
            }
        }
        is_first
    }

    /// Of that session, if it was that agent's.
    pub fn get(&self, agent: &str, session: &str) -> Option<Remains> {
        let queue = self.lock();
        let is_it = |output: &&Output| output.owner == agent && output.remains.id == session;
        queue
            .iter()
            .find(is_it)
            .map(|output| output.remains.clone())
    }

    /// Keeps them one after the other, as soon as there is room, until none is left.
    pub async fn save(&self, store: &Arc<Store>, limits: OutputLimits) {
        loop {
            let Some(next) = self.lock().front().cloned() else {
                return;
            };
            match next.save(store, limits).await {
                Ok(()) => {
                    tracing::info!(session = %next.remains.name, "its output is kept now");
                }
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(session = %next.remains.name, %error, "its output is not kept");
                }
            }
            let mut queue = self.lock();
            queue.retain(|output| output.remains.id != next.remains.id);
            if queue.is_empty() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Output>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(number: usize, bytes: usize) -> Output {
        let ended = serde_json::json!({"id": number.to_string(), "started_at": "", "ended_at": ""});
        Output {
            owner: "agent".to_owned(),
            ended: serde_json::from_value(ended).unwrap(),
            remains: Remains {
                id: number.to_string(),
                name: "demo".to_owned(),
                exit: None,
                lines: vec![b'x'; bytes].into(),
                size: agentd_api::Size { cols: 80, rows: 24 },
                seq: 0,
                screen: None,
            },
            session: None,
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let held = Held::default();
        assert!(held.push(output(0, 1)), "the first one");
        for number in 1..40 {
            assert!(!held.push(output(number, 1 << 20)));
        }
        assert!(held.get("agent", "0").is_none());
        assert!(held.get("agent", "39").is_some());
        assert_eq!(held.lock().len(), 16);
    }

    #[test]
    fn what_is_held_is_shown_of_its_agent_alone() {
        let held = Held::default();
        held.push(output(0, 1));
        assert!(held.get("agent", "0").is_some());
        assert!(held.get("another", "0").is_none());
    }
}
