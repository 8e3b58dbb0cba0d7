//! agentd-backend-tmux
