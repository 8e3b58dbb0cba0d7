//! A backend for the tests of the services whose manifest is the JSON in the file that
//! `FIXTURE_MANIFEST` names.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{serde_json, tracing};

struct Liar;

impl Backend for Liar {
    type Session = LiarSession;

    fn manifest() -> Manifest {
        let path = std::env::var("FIXTURE_MANIFEST").expect("the test sets it");
        let json = std::fs::read(path).expect("the test wrote it");
        serde_json::from_slice(&json).expect("it is a manifest")
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        tracing::warn!("two\nlines\u{1b}[2J");
        Err(Error::unavailable("not\ntoday\u{1b}[2J").hint("try\u{7}\ntomorrow"))
    }

    async fn start(&self, _spec: SessionSpec, _events: SessionEvents) -> Result<LiarSession> {
        Err(Error::internal("never connected"))
    }
}

struct LiarSession;

impl Session for LiarSession {
    async fn terminate(&self, _grace: Duration) -> Result<()> {
        Ok(())
    }
}

export_backend!(Liar);
