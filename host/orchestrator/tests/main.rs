//! The service from outside: each file of this folder is one feature. What it has in common with
//! agentd-wrap is tested there.

#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod activity;
mod agents;
mod audit;
mod backends;
mod clock;
mod crash;
mod deletion;
mod diff;
mod disk;
mod doors;
mod durable;
mod events;
mod history;
mod idempotency;
mod keeper;
mod labels;
mod leaving;
mod life;
mod links;
mod metrics;
mod program;
mod prompt;
mod prompt_faults;
mod reconcile;
mod recording;
mod rename;
mod restart_policy;
mod search;
mod shutdown;
mod terminal;
mod tokens;
mod unsynced;
mod upgrade;
mod webhook;

use agentd_host::testing::TestServer;

/// The service in this process.
fn orchestrator(backend: &str) -> TestServer {
    let service = &agentd_orchestrator::SERVICE;
    TestServer::start(service, agentd_orchestrator::server, backend, &[])
}
