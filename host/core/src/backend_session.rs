use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::abi::host::RemoteSession;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{LogQuery, Result, Size};

use crate::telemetry::{Calls, Operation};

/// A session as a backend has it. Each call into the library is counted, also one that nobody waits for any more.
pub struct BackendSession {
    remote: RemoteSession,
    calls: Arc<Calls>,
}

impl BackendSession {
    pub(crate) fn new(remote: RemoteSession, calls: Arc<Calls>) -> Self {
        BackendSession { remote, calls }
    }

    /// See [`RemoteSession::write`].
    pub async fn write(&self, input: &[u8]) -> Result<()> {
        let call = self.remote.write(input);
        self.calls.counted(Operation::Write, call).await
    }

    /// See [`RemoteSession::prompt`].
    pub async fn prompt(&self, text: &str, submit: bool) -> Result<()> {
        let call = self.remote.prompt(text, submit);
        self.calls.counted(Operation::Prompt, call).await
    }

    /// See [`RemoteSession::resize`].
    pub async fn resize(&self, size: Size) -> Result<()> {
        let call = self.remote.resize(size);
        self.calls.counted(Operation::Resize, call).await
    }

    /// See [`RemoteSession::logs`].
    pub async fn logs<R: Receiver + ?Sized + 'static>(
        &self,
        query: &LogQuery,
        sink: Arc<R>,
    ) -> Result<()> {
        let call = self.remote.logs(query, sink);
        self.calls.counted(Operation::Logs, call).await
    }

    /// See [`RemoteSession::attach_command`]. It is answered at once, and not counted.
    pub fn attach_command(&self) -> Result<Option<Vec<String>>> {
        self.remote.attach_command()
    }

    /// See [`RemoteSession::terminate`].
    pub async fn terminate(&self, grace: Duration) -> Result<()> {
        let call = self.remote.terminate(grace);
        self.calls.counted(Operation::Terminate, call).await
    }
}
