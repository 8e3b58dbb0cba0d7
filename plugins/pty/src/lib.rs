//! The `pty` backend: the agent is a child of the daemon, on a pseudo-terminal inside it. Needs
//! nothing but the kernel; the agents end with the daemon.

mod before_exec;
mod child;
mod input;
mod output;
mod session;

use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::json;
use agentd_plugin_api::threads::Threads;

use crate::child::Child;
use crate::session::PtySession;

struct Pty {
    host: Host,
    floods: Arc<Threads>,
}

impl Backend for Pty {
    type Session = PtySession;

    fn manifest() -> Manifest {
        Manifest::new("pty", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .options_schema(json!({"type": "object", "additionalProperties": false}))
    }

    async fn connect(host: Host, _config: Config) -> Result<Self> {
        let floods = Arc::new(Threads::for_floods("agentd-flood", usize::MAX)?);
        Ok(Pty { host, floods })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<PtySession> {
        if let Some(option) = spec.options.keys().next() {
            return Err(Error::refused(format!("unknown option `{option}`"))
                .hint("the pty backend has no options"));
        }
        let child = Child::spawn(&self.host, &spec, &events).await?;
        events.running(Some(child.pid()));
        PtySession::supervise(child, &spec.id, events, self.floods.clone())
    }
}

export_backend!(Pty);
