//! A backend without a terminal for the tests of the services: its sessions run nothing and do
//! what the first word of their command says.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::{serde_json::json, tokio};

struct Fixture;

struct FixtureSession {
    command: String,
    working_dir: PathBuf,
    events: SessionEvents,
}

/// A file in the session's directory for as long as somebody follows its log.
struct Follower(PathBuf);

impl Follower {
    fn new(session: &FixtureSession) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = session.working_dir.join(format!("follower-{number}"));
        std::fs::write(&file, "")?;
        Ok(Follower(file))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Backend for Fixture {
    type Session = FixtureSession;

    fn manifest() -> Manifest {
        Manifest::new("fixture", "7.8.9")
            .capabilities([Capability::HealthCheck, Capability::Logs])
            .options_schema(json!({"type": "object", "properties": {"colour": {}}}))
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Fixture)
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<FixtureSession> {
        let command = spec.command[0].clone();
        match command.as_str() {
            "panic" => panic!("the fixture panics"),
            "refuse" => return Err(Error::refused("the fixture refuses").hint("ask another")),
            "unavailable" => return Err(Error::unavailable("the fixture is not there")),
            "hang" => std::future::pending().await,
            "unhealthy" => events.health(Health::Unhealthy),
            "lose" => events.lost("the fixture lost it"),
            "forget" => events.unknown("the fixture cannot see it"),
            "end" => events.exited(ExitStatus::code(3)),
            _ => {}
        }
        Ok(FixtureSession {
            command,
            working_dir: spec.working_dir,
            events,
        })
    }
}

impl Session for FixtureSession {
    async fn logs(&self, query: LogQuery, sink: LogSink) -> Result<()> {
        let tail = query.tail.unwrap_or(u64::MAX);
        for number in (1..=5_u64).filter(|number| 5 - number < tail) {
            let line = LogLine {
                ts: Some(format!("2026-01-02T03:04:0{number}Z")),
                stream: Some(if number % 2 == 0 {
                    LogStream::Stderr
                } else {
                    LogStream::Stdout
                }),
                line: format!("line {number}"),
            };
            sink.line(&line).await;
        }
        if query.follow {
            let _follower = Follower::new(self)?;
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        Ok(())
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        if self.command == "panic-at-the-end" {
            panic!("the fixture panics at the end");
        }
        self.events.exited(ExitStatus::signal(15));
        Ok(())
    }
}

export_backend!(Fixture);
