//! The prompts that agents are created with: each is on the disk with its agent, and is typed once, or,
//! where the service ends just then, not at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_host::session::{Due, Session};
use agentd_host::{Error, Result};
use tokio::time::sleep;

use crate::agents::Agents;
use crate::crash_point::CrashPoint;
use crate::transaction::Transaction;

/// The pause before a prompt that could not be typed yet is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A prompt on its way to the program of one session.
struct Delivery {
    agents: Agents,
    id: String,
    session: Arc<Session>,
    /// What was read in the record, in case it is not known to be on the disk that it is delivered.
    read: Mutex<Option<String>>,
}

impl Agents {
    /// Types the prompts that wait, each once the program of its agent reads keys.
    pub(crate) async fn deliver_prompts(&self) -> Result<()> {
        for id in self.store.pending_prompts().await? {
            if let Some(session) = self.newest(&id)
                && !self.busy.is(&id)
            {
                self.deliver_prompt(&id, &session);
            }
        }
        Ok(())
    }

    /// Types the agent's prompt, if it has one that was never typed, once the program of this session reads
    /// keys. It stays where it is if the session ends before that.
    pub(crate) fn deliver_prompt(&self, id: &str, session: &Arc<Session>) {
        let Some(doing) = self.delivering.begin_alone(&session.id) else {
            return;
        };
        let delivery = Arc::new(Delivery {
            agents: self.clone(),
            id: id.to_owned(),
            session: session.clone(),
            read: Mutex::default(),
        });
        // Before anything that comes in for the agent from now on.
        let mut attempt = delivery.attempt();
        tokio::spawn(async move {
            while !attempt.await {
                tokio::select! {
                    () = delivery.session.ended() => {
                        delivery.give_up();
                        break;
                    }
                    () = sleep(PAUSE) => attempt = delivery.attempt(),
                }
            }
            drop(doing);
        });
    }
}

impl Delivery {
    /// Whether it is over.
    fn attempt(self: &Arc<Self>) -> impl Future<Output = bool> + Send + use<> {
        let (taking, failing) = (self.clone(), self.clone());
        let take = move || taking.take();
        self.session
            .prompt_at_start(take, move |error| failing.fail(&error))
    }

    /// The prompt, when it is on the disk that it is delivered.
    async fn take(self: Arc<Self>) -> Due {
        let agents = self.agents.clone();
        // It would be lost in a program that is about to be ended.
        if agents.busy.is(&self.id) || agents.sessions.is_closed() {
            return Due::Later;
        }
        CrashPoint::PromptDue.reached();
        let delivery = self.clone();
        let take = move |transaction: &mut Transaction<'_>| {
            transaction.take_prompt(&delivery.id, &delivery.session, &mut lock(&delivery.read))
        };
        match agents.store.write(take).await {
            Ok(Some(prompt)) => {
                CrashPoint::PromptTaken.reached();
                Due::Text(prompt)
            }
            Ok(None) => Due::Nothing,
            Err(error) => {
                tracing::warn!(agent = self.id, %error, "its prompt waits");
                Due::Later
            }
        }
    }

    fn fail(&self, error: &Error) {
        tracing::warn!(agent = self.id, %error, "its prompt was not typed");
        let (id, session) = (self.id.clone(), self.session.clone());
        let fail = move |t: &mut Transaction<'_>| t.fail_prompt(&id, &session);
        self.agents.store.change(true, fail);
    }

    /// The disk may have it as delivered without having said so.
    fn give_up(&self) {
        if lock(&self.read).is_some() {
            let (id, session) = (self.id.clone(), self.session.clone());
            let give_up = move |t: &mut Transaction<'_>| t.give_prompt_up(&id, &session);
            self.agents.store.change(true, give_up);
        }
    }
}

fn lock(read: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}
