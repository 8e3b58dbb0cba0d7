//! A backend for the tests of the services that shows a terminal and takes keys. Calls are noted in the
//! file `calls` in the working directory of their session, when they begin and when they have been done.
//! While there is a file `held`, those wait that its content is the beginning of.

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
}

impl HeldSession {
    async fn call(&self, call: &str) -> Result<()> {
        self.note(&format!("begun {call}"))?;
        let held = self.working_dir.join("held");
        while fs::read_to_string(&held).is_ok_and(|held| call.starts_with(&held)) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.note(&format!("done {call}"))
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
        events.running(None);
        Ok(HeldSession {
            working_dir: spec.working_dir,
            events,
        })
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

export_backend!(Held);
