//! The `pty` backend: the agent is a child of the daemon, on a pseudo-terminal inside it. Needs
//! nothing but the kernel; the agents end with the daemon. Those that survive a daemon that was
//! killed are ended by the next one.

mod before_exec;
mod child;
mod input;
mod output;
mod session;

use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::serde_json::json;
use agentd_plugin_api::threads::Threads;
use agentd_plugin_api::tracing;

use crate::child::Child;
use crate::session::PtySession;

/// What an earlier daemon left behind has so long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

struct Pty {
    host: Host,
    instance: String,
    floods: Arc<Threads>,
}

impl Backend for Pty {
    type Session = PtySession;

    fn manifest() -> Manifest {
        Manifest::new("pty", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .options_schema(json!({"type": "object", "additionalProperties": false}))
    }

    async fn connect(host: Host, config: Config) -> Result<Self> {
        end_leftovers(&config.instance).await;
        let floods = Arc::new(Threads::for_floods("agentd-flood", usize::MAX)?);
        let instance = config.instance;
        Ok(Pty {
            host,
            instance,
            floods,
        })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<PtySession> {
        if let Some(option) = spec.options.keys().next() {
            return Err(Error::refused(format!("unknown option `{option}`"))
                .hint("the pty backend has no options"));
        }
        let child = Child::spawn(&self.host, &self.instance, &spec, &events).await?;
        events.running(Some(child.pid()));
        PtySession::supervise(child, &spec.id, events, self.floods.clone())
    }
}

/// Ends the agents of an earlier daemon of this instance: their terminals died with it, and a
/// program that ignores SIGHUP runs on. What cannot be ended is no reason not to start.
async fn end_leftovers(instance: &str) {
    let tree = ProcessTree::of_instance(instance);
    let end = async {
        let count = tree.count().await?;
        if count > 0 {
            tracing::warn!("ending {count} processes that an earlier run left behind");
            tree.end(LEFTOVER_GRACE).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = end.await {
        tracing::warn!(%error, "what an earlier run left behind");
    }
}

export_backend!(Pty);
