//! The `pty` backend: the agent is a program on a terminal of the daemon. Needs nothing but the
//! kernel; the agents outlive the daemon if its terminals do.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::json;

struct Pty {
    host: Host,
}

impl Backend for Pty {
    type Session = Terminal;

    fn manifest() -> Manifest {
        Manifest::new("pty", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .options_schema(json!({"type": "object", "additionalProperties": false}))
            .on_terminals()
    }

    async fn connect(host: Host, _config: Config) -> Result<Self> {
        Ok(Pty { host })
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<Terminal> {
        if let Some(option) = spec.options.keys().next() {
            return Err(Error::refused(format!("unknown option `{option}`"))
                .hint("the pty backend has no options"));
        }
        self.host.run(Program::of(&spec), events).await
    }
}

export_backend!(Pty);
