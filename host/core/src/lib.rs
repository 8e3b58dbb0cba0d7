//! agentd-host

pub mod loader;
