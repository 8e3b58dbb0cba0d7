//! The smallest backend that does something: what is typed comes back. An example to copy, and
//! the fixture of the host's tests.

use std::sync::Once;

use agentd_plugin_api::prelude::*;

struct Echo;

struct EchoSession {
    events: SessionEvents,
    end: Once,
}

impl Backend for Echo {
    type Session = EchoSession;

    fn manifest() -> Manifest {
        Manifest::new("echo", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
            .loopback()
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Echo)
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<EchoSession> {
        if let Some(option) = spec.options.keys().next() {
            return Err(Error::refused(format!("unknown option `{option}`"))
                .hint("the echo backend has no options"));
        }
        let end = Once::new();
        Ok(EchoSession { events, end })
    }
}

impl Session for EchoSession {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        if self.end.is_completed() {
            return Err(Error::gone("the session has ended"));
        }
        self.events.write_all(&input).await;
        Ok(())
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        self.end
            .call_once(|| self.events.exited(ExitStatus::code(0)));
        Ok(())
    }
}

export_backend!(Echo);
