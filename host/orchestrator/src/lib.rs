//! agentd-orchestrator
