//! agentd-backend-pty
