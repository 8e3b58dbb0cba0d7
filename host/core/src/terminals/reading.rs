use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use agentd_keeper::Readers;
use agentd_process::Result;
use tokio::runtime::Handle;

/// What reads the terminals of a service, begun when there is one.
#[derive(Default)]
pub struct Reading {
    /// The service's runtime. Without it they have threads of their own.
    runtime: Option<Handle>,
    readers: OnceLock<Arc<Readers>>,
    beginning: Mutex<()>,
}

impl Reading {
    /// In the runtime that is entered.
    pub fn here() -> Self {
        Reading {
            runtime: Handle::try_current().ok(),
            ..Reading::default()
        }
    }

    /// The only ones.
    pub fn get(&self) -> Result<&Arc<Readers>> {
        let _beginning = self
            .beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(readers) = self.readers.get() {
            return Ok(readers);
        }
        let readers = match &self.runtime {
            Some(runtime) => Readers::on(runtime.clone())?,
            None => Readers::start()?,
        };
        Ok(self.readers.get_or_init(|| readers))
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
