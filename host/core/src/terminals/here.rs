use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_keeper::{Keep, Keeper, Place, Running, Terms};
use agentd_plugin_api::host::{Call, RunningProgram, TerminalServices};
use agentd_plugin_api::{Result, Size};
use agentd_process::terminal::{Program, Reaper};

use super::keepers::has_ended;
use super::reading::Reading;
use super::reports::Reports;
use super::size;
use crate::children::Children;

/// Only what nobody has taken yet has to be held.
const TERMS: Terms = Terms {
    keep: Keep::Block,
    capacity: 128 * 1024,
    checkpoints: false,
};

/// The keeper on a thread of this process, launched when it is first asked for.
#[derive(Default)]
pub struct Here(Mutex<Option<Keeper>>);

impl Here {
    /// Runs a program on a terminal that ends with this process.
    pub async fn run(
        &self,
        program: Program,
        reports: Arc<Reports>,
        readers: &Reading,
    ) -> Result<RunningProgram> {
        let keeper = self.keeper(readers)?;
        let running = keeper.run(program, "", TERMS, reports).await?;
        Ok(Arc::new(Lent(Arc::new(running))))
    }

    fn keeper(&self, readers: &Reading) -> Result<Keeper> {
        let mut keeper = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.as_ref().filter(|keeper| !has_ended(keeper)) {
            return Ok(keeper.clone());
        }
        let launched = Keeper::launch(&Place::Thread(Arc::new(Parent)), readers.get()?)?;
        Ok(keeper.insert(launched).clone())
    }
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
