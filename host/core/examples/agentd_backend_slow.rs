//! A backend for the tests of the services that shows a terminal and takes no keys. A session
//! runs once the file exists that its command names.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;

struct Slow;

struct SlowSession(SessionEvents);

impl Backend for Slow {
    type Session = SlowSession;

    fn manifest() -> Manifest {
        Manifest::new("slow", env!("CARGO_PKG_VERSION")).capabilities([Capability::Terminal])
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Slow)
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<SlowSession> {
        let file = spec.working_dir.join(&spec.command[0]);
        events.starting("waiting for the file");
        let reports = events.clone();
        tokio::spawn(async move {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            reports.running(None);
            reports.output(b"here at last");
        });
        Ok(SlowSession(events))
    }
}

impl Session for SlowSession {
    async fn resize(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        self.0.exited(ExitStatus::code(0));
        Ok(())
    }
}

export_backend!(Slow);
