use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_api::Size;

use super::Session;
use crate::Result;

/// Who watches a session, and whose window sets its size: a lone writer's always does; of several,
/// that of the one who typed last. Readers never do.
#[derive(Debug, Default)]
pub struct Viewers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    readers: u64,
    /// The writers, each with the size of its window if it has sent one.
    writers: BTreeMap<u64, Option<Size>>,
    typed_last: Option<u64>,
}

impl State {
    fn size_of(&self, writer: u64) -> Option<Size> {
        self.writers.get(&writer).copied().flatten()
    }

    /// The size that counts, where there is one.
    fn size(&self) -> Option<Size> {
        let mut writers = self.writers.keys();
        match (writers.next(), writers.next()) {
            (Some(lone), None) => self.size_of(*lone),
            _ => self.size_of(self.typed_last?),
        }
    }
}

impl Viewers {
    /// How many there are.
    pub fn count(&self) -> u64 {
        let state = self.lock();
        state.readers + state.writers.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who watches; gone when this is dropped.
#[derive(Debug)]
pub struct Viewer {
    session: Arc<Session>,
    /// None for a reader.
    writer: Option<u64>,
}

impl Viewer {
    /// Joins the viewers of `session`.
    pub fn join(session: Arc<Session>, writes: bool) -> Self {
        let mut state = session.viewers.lock();
        let writer = writes.then_some(state.next);
        match writer {
            Some(writer) => {
                state.next += 1;
                state.writers.insert(writer, None);
            }
            None => state.readers += 1,
        }
        drop(state);
        Viewer { session, writer }
    }

    /// Whether this viewer may type.
    pub fn writes(&self) -> bool {
        self.writer.is_some()
    }

    /// The viewer's window has this size.
    pub async fn set_window(&self, size: Size) -> Result<()> {
        let Some(writer) = self.writer else {
            return Ok(());
        };
        let size = {
            let mut state = self.session.viewers.lock();
            state.writers.insert(writer, Some(size));
            state.size()
        };
        self.apply(size).await
    }

    /// Types. Pending while the program does not read.
    pub async fn write(&self, input: &[u8]) -> Result<()> {
        if let Some(writer) = self.writer {
            let size = {
                let mut state = self.session.viewers.lock();
                let took_over = state.typed_last.replace(writer) != Some(writer);
                took_over.then(|| state.size_of(writer)).flatten()
            };
            self.apply(size).await?;
        }
        self.session.write(input).await
    }

    async fn apply(&self, size: Option<Size>) -> Result<()> {
        match size {
            Some(size) => self.session.resize(size).await,
            None => Ok(()),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut state = self.session.viewers.lock();
        let Some(writer) = self.writer else {
            state.readers -= 1;
            return;
        };
        state.writers.remove(&writer);
        if state.typed_last == Some(writer) {
            state.typed_last = None;
        }
        // Who is alone now has the size.
        let size = state.size();
        drop(state);
        if let Some(size) = size
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let session = self.session.clone();
            runtime.spawn(async move {
                if let Err(error) = session.resize(size).await {
                    tracing::debug!(session = %session.name, %error, "not resized");
                }
            });
        }
    }
}
