use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agentd_plugin_api::host::{Call, RunningProgram, TerminalServices};
use agentd_plugin_api::{Result, Size};
use agentd_process::terminal::{Program, Reaper, Running, Terminals};

use super::reports::Reports;
use super::size;
use crate::children::Children;

/// Runs a program on a terminal of this process, which ends with it.
pub async fn run(program: Program, reports: Arc<Reports>) -> Result<RunningProgram> {
    let running = terminals()?.run(program, reports).await?;
    Ok(Arc::new(Lent(Arc::new(running))))
}

/// The process's only ones, started when they are first asked for.
fn terminals() -> Result<&'static Terminals> {
    static TERMINALS: OnceLock<Terminals> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if TERMINALS.get().is_none() {
        let started = Terminals::start(Arc::new(Parent))?;
        // Nobody else sets it meanwhile.
        let _ = TERMINALS.set(started);
    }
    TERMINALS
        .get()
        .ok_or_else(|| agentd_plugin_api::Error::internal("the terminals were not started"))
}

struct Parent;

impl Reaper for Parent {
    fn hold(&self) {
        Children::get().hold();
    }

    fn release(&self, child: Option<u32>) {
        Children::get().release(child);
    }
}

struct Lent(Arc<Running>);

impl TerminalServices for Lent {
    fn write(&self, input: Vec<u8>) -> Call<()> {
        let running = self.0.clone();
        Box::pin(async move { running.write(input).await })
    }

    fn resize(&self, to: Size) -> Call<()> {
        Box::pin(std::future::ready(self.0.resize(size(to))))
    }

    fn terminate(&self, grace: Duration) -> Call<()> {
        let running = self.0.clone();
        Box::pin(async move { running.end(grace).await })
    }

    fn abandon(&self) {
        self.0.abandon();
    }
}
