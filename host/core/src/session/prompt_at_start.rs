use std::sync::Arc;

use agentd_api::{Input, State};

use super::Session;
use crate::Error;

/// What is to be done about a prompt whose program reads keys now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// This is to be typed.
    Text(String),
    /// It cannot be typed now.
    Later,
    /// There is none any more.
    Nothing,
}

impl Session {
    /// Types a prompt, with Enter, once the program reads keys. `take` gives it then; what it has given is
    /// typed to its end, or `fail` is given why it was not, before
    /// [`Sessions::typed`](super::Sessions::typed) returns. False when it is to be tried again: the program
    /// asks something, its backend cannot be reached, it is being ended, or it cannot be taken. Who prompts
    /// a session that runs comes after this from the moment of the call on.
    pub fn prompt_at_start<T, F, E>(
        self: &Arc<Self>,
        take: T,
        fail: E,
    ) -> impl Future<Output = bool> + Send + use<T, F, E>
    where
        T: FnOnce() -> F + Send,
        F: Future<Output = Due> + Send,
        E: FnOnce(Error) + Send,
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
            if !session.settles().await {
                return false;
            }
            let _typing = session.typing.lock().await;
            match take().await {
                Due::Text(text) => {
                    let input = Input { text, submit: true };
                    if let Err(error) = session.type_prompt(&input, true).await {
                        fail(error);
                    }
                    true
                }
                Due::Later => false,
                Due::Nothing => true,
            }
        }
    }
}
