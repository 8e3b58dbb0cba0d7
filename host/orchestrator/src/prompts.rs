//! The prompts that agents are created with: each is on the disk with its agent, and is typed once, or,
//! where the service ends just then, not at all.

use std::sync::Arc;
use std::time::Duration;

use agentd_host::session::Session;
use tokio::time::sleep;

use crate::agents::Agents;
use crate::crash_point::CrashPoint;
use crate::transaction::Transaction;

/// The pauses between attempts to have it on the disk that a prompt is about to be typed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Agents {
    /// Types the agent's prompt, if it has one that was never typed, once the program of this session reads
    /// keys. It stays where it is if the session ends before that.
    pub(crate) fn deliver_prompt(&self, id: &str, session: &Arc<Session>) {
        let (agents, id) = (self.clone(), id.to_owned());
        let taking = (agents.clone(), id.clone(), session.clone());
        let typed = session.prompt_at_start(move || {
            let (agents, id, session) = taking;
            async move { agents.take_prompt(&id, &session).await }
        });
        let session = session.clone();
        tokio::spawn(async move {
            let Err(error) = typed.await else { return };
            tracing::warn!(agent = id, %error, "its prompt was not typed");
            agents.store.change(true, {
                move |transaction| transaction.fail_prompt(&id, &session)
            });
        });
    }

    /// The prompt, when it is on the disk that it is delivered. Tries until the session has ended.
    async fn take_prompt(&self, id: &str, session: &Arc<Session>) -> Option<String> {
        let (mut pause, longest) = PAUSES;
        CrashPoint::PromptDue.reached();
        loop {
            let (agent, taken_by) = (id.to_owned(), session.clone());
            let take = move |t: &mut Transaction<'_>| t.take_prompt(&agent, &taken_by);
            match self.store.write(take).await {
                Ok(prompt) => {
                    CrashPoint::PromptTaken.reached();
                    return prompt;
                }
                Err(error) => tracing::warn!(agent = id, %error, "its prompt waits"),
            }
            tokio::select! {
                () = session.ended() => return None,
                () = sleep(pause) => pause = longest.min(pause * 2),
            }
        }
    }
}
