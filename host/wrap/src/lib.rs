//! agentd-wrap
