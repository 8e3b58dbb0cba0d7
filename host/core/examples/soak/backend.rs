use std::fmt;

use agentd_host::testing::{RunningProgram, TestBackend, TestProgram, libraries};
use clap::ValueEnum;

/// After so long without use a screen is put away.
const SCREEN_IDLE_MS: &str = "700";

/// Agents and sessions are brought together so often, in seconds.
const RECONCILE_INTERVAL_SECS: &str = "10";

/// A backend that can be soaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    Pty,
    Tmux,
    Docker,
}

impl BackendName {
    pub const ALL: &[BackendName] = &[Self::Pty, Self::Tmux, Self::Docker];
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendName::Pty => "pty",
            BackendName::Tmux => "tmux",
            BackendName::Docker => "docker",
        })
    }
}

/// A running service, and what its backend stands on.
pub struct Backend {
    // Ended before its tool is.
    pub service: RunningProgram,
    pub tool: TestBackend,
}

impl Backend {
    /// Starts both; what is missing for that.
    pub fn start(name: BackendName) -> Result<Self, String> {
        let executable = libraries().join("agentd-orchestrator");
        if !executable.exists() {
            return Err(format!("there is no `{}`", executable.display()));
        }
        let tool = match name {
            BackendName::Pty => TestBackend::pty(),
            BackendName::Tmux => TestBackend::tmux()?,
            BackendName::Docker => TestBackend::docker()?,
        };
        let program = TestProgram::new("agentd-orchestrator", executable)
            .env("AGENTD_SCREEN_IDLE_MS", SCREEN_IDLE_MS)
            .env("AGENTD_RECONCILE_INTERVAL_SECS", RECONCILE_INTERVAL_SECS)
            .env("LANG", "C.UTF-8");
        let service = tool.configure(program).start();
        tool.give(service.work_dir());
        Ok(Backend { service, tool })
    }
}
