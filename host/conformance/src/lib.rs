//! agentd-conformance
