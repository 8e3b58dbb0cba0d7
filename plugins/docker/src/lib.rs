//! agentd-backend-docker
