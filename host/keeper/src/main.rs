//! A keeper and nothing else: for tests, and to compare with a service that becomes one.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd_keeper::entered().unwrap_or(ExitCode::from(64))
}
