//! The program `agentd-wrap`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd_host::service::main(&agentd_wrap::SERVICE, agentd_wrap::server)
}
