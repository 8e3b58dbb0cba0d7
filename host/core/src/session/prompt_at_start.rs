use std::sync::Arc;

use agentd_api::{Input, State};

use super::Session;
use crate::Result;

impl Session {
    /// Types a prompt once the program reads keys, and Enter. `take` gives it then, or none if it is not to
    /// be typed; it is not asked when the session has ended before. Whether it was. Who prompts a session
    /// that runs comes after this from the moment of the call on.
    pub fn prompt_at_start<F>(
        self: &Arc<Self>,
        take: impl FnOnce() -> F + Send + 'static,
    ) -> impl Future<Output = Result<bool>> + Send + 'static
    where
        F: Future<Output = Option<String>> + Send,
    {
        let session = self.clone();
        let runs = self.record().state == State::Running;
        let turn = self
            .prompting
            .clone()
            .try_lock_owned()
            .ok()
            .filter(|_| runs);
        async move {
            session.started().await;
            let _turn = match turn {
                Some(turn) => turn,
                None => session.prompting.clone().lock_owned().await,
            };
            session.has_settled().await;
            if session.record().state == State::Exited {
                return Ok(false);
            }
            let Some(text) = take().await else {
                return Ok(false);
            };
            let input = Input { text, submit: true };
            session.type_prompt(&input, true).await?;
            Ok(true)
        }
    }
}
