//! `agent`: the command line of agentd.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd_cli::run(std::env::args_os())
}
