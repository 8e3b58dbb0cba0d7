//! The smallest backend that does something: what is typed comes back. An example to copy, and
//! the fixture of the host's tests.

use agentd_plugin_api::prelude::*;

struct Echo;

struct EchoSession(SessionEvents);

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
        Ok(EchoSession(events))
    }
}

impl Session for EchoSession {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        self.0.write_all(&input).await;
        Ok(())
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        self.0.exited(ExitStatus::code(0));
        Ok(())
    }
}

export_backend!(Echo);
