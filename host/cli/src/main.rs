//! `agent`: the command line of agentd.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `backend test` starts keepers, which are this program.
    if let Some(code) = agentd_conformance::entered() {
        return code;
    }
    agentd_cli::run(std::env::args_os())
}
