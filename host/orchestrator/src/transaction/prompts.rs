//! The prompts that agents are created with.

use agentd_api::PromptState;
use agentd_host::session::Session;
use rusqlite::{OptionalExtension, params};

use super::Transaction;

impl Transaction<'_> {
    /// Keeps what is to be typed into the agent's program.
    pub fn set_prompt(&self, id: &str, prompt: &str) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET prompt = ?, prompt_state = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![prompt, PromptState::Pending.as_str(), id])?;
        Ok(())
    }

    /// The agent's prompt, which is taken to be delivered from now on. None if that was done before, or
    /// the session is not the agent's newest one.
    pub fn take_prompt(&mut self, id: &str, session: &Session) -> rusqlite::Result<Option<String>> {
        let query =
            "SELECT prompt FROM agents WHERE id = ? AND session_id = ? AND prompt_state = ?";
        let mut query = self.connection.prepare_cached(query)?;
        let pending = params![id, session.id, PromptState::Pending.as_str()];
        let prompt = query.query_row(pending, |row| row.get(0)).optional()?;
        if prompt.is_some() {
            self.settle_prompt(id, session, PromptState::Delivered)?;
        }
        Ok(prompt)
    }

    /// It could not be typed, at least not all of it.
    pub fn fail_prompt(&mut self, id: &str, session: &Session) -> rusqlite::Result<()> {
        self.settle_prompt(id, session, PromptState::Failed)
    }

    fn settle_prompt(
        &mut self,
        id: &str,
        session: &Session,
        state: PromptState,
    ) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET prompt = NULL, prompt_state = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![state.as_str(), id])?;
        drop(update);
        match self.get(id)? {
            Some(record) => {
                let is_newest = record.session_id.as_ref() == Some(&session.id);
                self.event("progress", &record.describe(is_newest.then_some(session)))
            }
            None => Ok(()),
        }
    }
}
