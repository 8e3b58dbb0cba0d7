use std::fmt;

use agentd_host::testing::{RunningProgram, TestBackend, TestProgram, libraries};
use clap::ValueEnum;

/// What a service does after a while is done many times within a soak.
const SOON: &[(&str, &str)] = &[
    ("AGENTD_SCREEN_IDLE_MS", "700"),
    ("AGENTD_HEADER_TIMEOUT_MS", "10000"),
    ("AGENTD_RECONCILE_INTERVAL_SECS", "10"),
    ("AGENTD_UNOWNED_GRACE_SECS", "5"),
    ("AGENTD_RESTART_BACKOFF_MS", "200"),
    ("AGENTD_RESTART_RESET_MS", "5000"),
    // More in a minute than anybody who is let in sends.
    ("AGENTD_MAX_FAILED_SIGN_INS", "100000"),
    ("AGENTD_MAX_REQUESTS_PER_SECOND", "100000"),
];

/// A backend that can be soaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    Pty,
    Tmux,
    Docker,
}

impl BackendName {
    pub const ALL: &[BackendName] = &[Self::Pty, Self::Tmux, Self::Docker];

    /// So many agents stay while visitors come and go.
    pub fn staying(self) -> usize {
        match self {
            BackendName::Pty => 200,
            BackendName::Tmux => 60,
            BackendName::Docker => 12,
        }
    }
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
    pub name: BackendName,
}

impl Backend {
    /// Starts both; what is missing for that.
    pub fn start(name: BackendName) -> Result<Self, String> {
        let executable = libraries().join("agentd-orchestrator");
        if !executable.exists() {
            return Err(format!("there is no `{}`", executable.display()));
        }
        let tool = match name {
            BackendName::Pty => TestBackend::kept(),
            BackendName::Tmux => TestBackend::tmux()?,
            BackendName::Docker => TestBackend::docker()?,
        };
        let mut program = TestProgram::new("agentd-orchestrator", executable);
        for (name, value) in SOON.iter().chain(&[("LANG", "C.UTF-8")]) {
            program = program.env(name, value);
        }
        let service = tool.configure(program).start();
        tool.give(service.work_dir());
        Ok(Backend {
            service,
            tool,
            name,
        })
    }
}
