//! The program `agentd-orchestrator`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd_host::service::main(&agentd_orchestrator::SERVICE, agentd_orchestrator::server)
}
