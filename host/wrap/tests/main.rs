//! The service from outside: each file of this folder is one feature.

#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod activation;
mod admission;
mod attacks;
mod bad_input;
mod cgroups;
mod connections;
mod doors;
mod engine;
mod environment;
mod execution;
mod faults;
mod hostile;
mod idempotency;
mod info;
mod keeper;
mod left_behind;
mod limits;
mod logs;
mod manifest;
mod memory;
mod own_cgroup;
mod panics;
mod processes;
mod recording;
mod sandbox;
mod screen;
mod service_manager;
mod sessions;
mod shutdown;
mod sizes;
mod socket;
mod ssh;
mod startup;
mod stuck;
mod terminal;
mod tls;
mod vanished;

use agentd_host::testing::{TestProgram, TestServer};

/// The service in this process.
fn wrap(backend: &str) -> TestServer {
    wrap_with(backend, &[])
}

fn wrap_with(backend: &str, flags: &[&str]) -> TestServer {
    TestServer::start(&agentd_wrap::SERVICE, agentd_wrap::server, backend, flags)
}

/// The service as a program.
fn program() -> TestProgram {
    TestProgram::new("agentd-wrap", env!("CARGO_BIN_EXE_agentd-wrap"))
}
