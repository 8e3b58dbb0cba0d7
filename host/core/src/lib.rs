//! agentd-host
