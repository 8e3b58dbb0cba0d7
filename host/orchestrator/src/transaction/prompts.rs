//! The prompts that agents are created with.

use agentd_api::PromptState;
use agentd_host::session::Session;
use rusqlite::{OptionalExtension, Row, params};

use super::Transaction;

impl Transaction<'_> {
    /// Keeps what is to be typed into the agent's program.
    pub fn set_prompt(&self, id: &str, prompt: &str) -> rusqlite::Result<()> {
        let insert = "INSERT INTO prompts (agent, text) SELECT number, ? FROM agents WHERE id = ?";
        let mut insert = self.connection.prepare_cached(insert)?;
        insert.execute([prompt, id])?;
        self.set_prompt_state(id, PromptState::Pending)
    }

    /// The agent's prompt, which is taken to be delivered from now on. None if that was done before, the
    /// session is not the agent's newest one, or it is not to run. `read` is what an attempt of the same
    /// delivery has found before, which was made all the same if it was only not known to be on the disk.
    pub fn take_prompt(
        &mut self,
        id: &str,
        session: &Session,
        read: &mut Option<String>,
    ) -> rusqlite::Result<Option<String>> {
        let query = "SELECT prompt_state, text FROM agents LEFT JOIN prompts ON agent = number
            WHERE id = ? AND session_id = ? AND wish = 'running'";
        let mut query = self.connection.prepare_cached(query)?;
        let found = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<(Option<String>, Option<String>)> = query
            .query_row([id, session.id.as_str()], found)
            .optional()?;
        match found {
            Some((_, Some(text))) => {
                self.settle_prompt(id, session, PromptState::Delivered)?;
                *read = Some(text);
            }
            Some((Some(state), None)) if state == PromptState::Delivered.as_str() => {}
            _ => *read = None,
        }
        Ok(read.clone())
    }

    /// It could not be typed, at least not all of it.
    pub fn fail_prompt(&mut self, id: &str, session: &Session) -> rusqlite::Result<()> {
        self.settle_prompt(id, session, PromptState::Failed)
    }

    /// The session has ended, and nothing was typed into it, whether it is noted as delivered or still waits.
    pub fn give_prompt_up(&mut self, id: &str, session: &Session) -> rusqlite::Result<()> {
        let taken = "SELECT count(*) FROM agents LEFT JOIN prompts ON agent = number
            WHERE id = ? AND session_id = ? AND prompt_state = ? AND text IS NULL";
        let mut taken = self.connection.prepare_cached(taken)?;
        let of = [id, session.id.as_str(), PromptState::Delivered.as_str()];
        match taken.query_row(of, |row| row.get::<_, bool>(0))? {
            true => self.settle_prompt(id, session, PromptState::Failed),
            false => Ok(()),
        }
    }

    fn settle_prompt(
        &mut self,
        id: &str,
        session: &Session,
        state: PromptState,
    ) -> rusqlite::Result<()> {
        let delete = "DELETE FROM prompts WHERE agent = (SELECT number FROM agents WHERE id = ?)";
        self.connection.prepare_cached(delete)?.execute([id])?;
        self.set_prompt_state(id, state)?;
        match self.get(id)? {
            Some(record) => {
                let is_newest = record.session_id.as_ref() == Some(&session.id);
                self.event("progress", &record.describe(is_newest.then_some(session)))
            }
            None => Ok(()),
        }
    }

    fn set_prompt_state(&self, id: &str, state: PromptState) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET prompt_state = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![state.as_str(), id])?;
        Ok(())
    }
}
