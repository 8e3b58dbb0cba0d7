//! A backend for the tests of the services that never returns from the call that `FIXTURE_STUCK`
//! names (`load`, `manifest`, `connect`, `list`, `adopt` or `terminate`): with `FIXTURE_BLOCKS` it
//! blocks the thread, else its future is never ready. With `FIXTURE_UNREACHABLE` it cannot list its
//! sessions. With `FIXTURE_DIES` it ends the process while it is loaded, by `abort` or `exit`.

use std::env;
use std::thread;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::serde_json::json;
use agentd_plugin_api::tracing;

fn is_stuck(call: &str) -> bool {
    env::var("FIXTURE_STUCK").is_ok_and(|stuck| stuck == call)
}

fn block() -> ! {
    loop {
        thread::park();
    }
}

async fn stuck_at(call: &str) {
    if is_stuck(call) {
        if env::var_os("FIXTURE_BLOCKS").is_some() {
            tracing::warn!("blocks a thread");
            block();
        }
        std::future::pending::<()>().await;
    }
}

/// Runs while the dynamic linker loads the library, and holds its lock.
extern "C" fn initialise() {
    if is_stuck("load") {
        block();
    }
    match env::var("FIXTURE_DIES").as_deref() {
        Ok("abort") => std::process::abort(),
        #[expect(clippy::exit, reason = "as the dynamic linker does it")]
        Ok("exit") => std::process::exit(127),
        _ => {}
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = initialise;

struct Stuck;

impl Backend for Stuck {
    type Session = StuckSession;

    fn manifest() -> Manifest {
        if is_stuck("manifest") {
            block();
        }
        Manifest::new("stuck", env!("CARGO_PKG_VERSION")).persistent()
    }

    async fn connect(_host: Host, _config: Config) -> Result<Self> {
        stuck_at("connect").await;
        Ok(Stuck)
    }

    async fn start(&self, _spec: SessionSpec, events: SessionEvents) -> Result<StuckSession> {
        Ok(StuckSession(events))
    }

    async fn list(&self) -> Result<Vec<Found>> {
        stuck_at("list").await;
        if env::var_os("FIXTURE_UNREACHABLE").is_some() {
            return Err(Error::unavailable("it is out of reach"));
        }
        let label = json!({
            "name": "left",
            "working_dir": "/",
            "command": ["none"],
            "created_at": "2026-01-02T03:04:05.678Z",
            "size": {"cols": 80, "rows": 24},
            "env": [],
            "options": {},
            "owner": null,
        });
        Ok(vec![Found {
            id: "left".to_owned(),
            label: label.to_string(),
        }])
    }

    async fn adopt(&self, _id: String, events: SessionEvents) -> Result<StuckSession> {
        stuck_at("adopt").await;
        events.running(None);
        Ok(StuckSession(events))
    }
}

struct StuckSession(SessionEvents);

impl Session for StuckSession {
    async fn terminate(&self, _grace: Duration) -> Result<()> {
        stuck_at("terminate").await;
        self.0.exited(ExitStatus::code(0));
        Ok(())
    }
}

export_backend!(Stuck);
