//! agentd-cli
