//! The program `agentd-orchestrator` with the places at which the tests kill it. The program itself
//! is built anew without them while the tests run.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd_host::service::main(&agentd_orchestrator::SERVICE, agentd_orchestrator::server)
}
