//! A backend for the tests of the services that shows a terminal and takes keys. Calls are noted in the
//! file `calls` in the working directory of their session, when they begin and when they have been done.
//! While there is a file `held`, those wait that its content is the beginning of; those of a file `fails` fail. Starts
//! count only as far as they are held. While there is a file `unreachable`, the backend is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;

const LOOK_AGAIN: Duration = Duration::from_millis(10);

struct Held;

struct HeldSession {
    working_dir: PathBuf,
    events: SessionEvents,
    reports: Option<tokio::task::JoinHandle<()>>,
}

impl HeldSession {
    async fn call(&self, call: &str) -> Result<()> {
        self.note(&format!("begun {call}"))?;
        while self.says("held", call) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        if self.says("fails", call) {
            return Err(Error::internal("it takes nothing now"));
        }
        self.note(&format!("done {call}"))
    }

    fn says(&self, file: &str, call: &str) -> bool {
        let content = fs::read_to_string(self.working_dir.join(file));
        content.is_ok_and(|content| call.starts_with(&content))
    }

    /// Reports whether it can be reached, now and whenever that changes.
    fn report(&mut self) {
        let (events, file) = (self.events.clone(), self.working_dir.join("unreachable"));
        let tell = |events: &SessionEvents, reached: bool| match reached {
            true => events.running(None),
            false => events.unknown("it is out of reach"),
        };
        let mut reached = !file.exists();
        tell(&events, reached);
        self.reports = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                if reached == file.exists() {
                    reached = !reached;
                    tell(&events, reached);
                }
            }
        }));
    }

    fn note(&self, line: &str) -> Result<()> {
        let mut calls = OpenOptions::new();
        calls.create(true).append(true);
        let mut calls = calls.open(self.working_dir.join("calls"))?;
        Ok(calls.write_all(format!("{line}\n").as_bytes())?)
    }
}

impl Backend for Held {
    type Session = HeldSession;

    fn manifest() -> Manifest {
        Manifest::new("held", env!("CARGO_PKG_VERSION"))
            .capabilities([Capability::Terminal, Capability::Interactive])
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        Ok(Held)
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<HeldSession> {
        let mut session = HeldSession {
            working_dir: spec.working_dir,
            events,
            reports: None,
        };
        if session.says("held", "start") {
            session.call("start").await?;
        }
        session.report();
        Ok(session)
    }
}

impl Session for HeldSession {
    async fn write(&self, input: Vec<u8>) -> Result<()> {
        let text = String::from_utf8_lossy(&input);
        self.call(&format!("write {text:?}")).await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        self.call(&format!("resize {}x{}", size.cols, size.rows))
            .await
    }

    async fn terminate(&self, _grace: Duration) -> Result<()> {
        self.events.exited(ExitStatus::code(0));
        Ok(())
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        if let Some(reports) = &self.reports {
            reports.abort();
        }
    }
}

export_backend!(Held);
