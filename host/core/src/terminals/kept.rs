use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentd_api::Size;
use agentd_keeper::{Keeper, Kept, Running};
use agentd_plugin_api::host::{Call, RunningProgram, TerminalServices};
use agentd_process::terminal::Sink;

use super::reports::Reports;
use super::{RING, size};
use crate::session::{Beginning, Checkpoint, Keep, Leaving};

/// A program in a keeper, whose terminal this service has.
pub struct Followed {
    running: Arc<Running>,
    pub keeper: Arc<Keeper>,
    reports: Weak<Reports>,
    /// Whether nothing could be learned of it when its keeper was last asked.
    is_unknown: AtomicBool,
}

impl Followed {
    pub fn new(running: Running, keeper: Arc<Keeper>, reports: &Arc<Reports>) -> Self {
        Followed {
            running: Arc::new(running),
            keeper,
            reports: Arc::downgrade(reports),
            is_unknown: AtomicBool::new(false),
        }
    }

    /// Its keeper answers, or does not for this reason.
    pub fn heard(&self, silence: Option<&str>) {
        let was_unknown = self.is_unknown.swap(silence.is_some(), Ordering::AcqRel);
        let Some(reports) = self.reports.upgrade() else {
            return;
        };
        match silence {
            Some(reason) => reports.unknown(reason),
            None if was_unknown => reports.running(self.running.pid()),
            None => {}
        }
    }

    /// How many bytes of its output wait in its keeper, of how many there is room for.
    pub fn level(&self) -> Option<(u64, u64)> {
        self.running.level()
    }

    /// For the backend; when that drops it, the program ends if `ends` says so by then.
    pub fn lend(self: Arc<Self>, ends: Arc<AtomicBool>) -> RunningProgram {
        Arc::new(Lent {
            followed: self,
            ends,
        })
    }
}

impl Keep for Followed {
    fn room(&self) -> u64 {
        RING as u64
    }

    fn answered(&self, position: u64) {
        self.running.note_answered(position);
    }

    fn leave(&self, checkpoint: Checkpoint) -> Leaving<'_> {
        Box::pin(async move {
            let Size { cols, rows } = checkpoint.cursor.size;
            let size = agentd_process::terminal::Size { cols, rows };
            let (seq, bytes) = (checkpoint.cursor.seq, checkpoint.encode()?);
            Ok(self.running.checkpoint(seq, size, &bytes).await?)
        })
    }

    fn let_go(&self) {
        if let Some(reports) = self.reports.upgrade() {
            reports.let_go();
        }
    }
}

struct Lent {
    followed: Arc<Followed>,
    ends: Arc<AtomicBool>,
}

impl TerminalServices for Lent {
    fn write(&self, input: Vec<u8>) -> Call<()> {
        let followed = self.followed.clone();
        Box::pin(async move { followed.running.write(input).await })
    }

    fn resize(&self, to: agentd_plugin_api::Size) -> Call<()> {
        Box::pin(std::future::ready(self.followed.running.resize(size(to))))
    }

    fn terminate(&self, grace: Duration) -> Call<()> {
        let followed = self.followed.clone();
        Box::pin(async move {
            followed.running.end(grace).await?;
            followed.let_go();
            Ok(())
        })
    }

    fn abandon(&self) {
        match self.ends.load(Ordering::Acquire) {
            true => {
                self.followed.running.abandon();
                self.followed.let_go();
            }
            // For whoever takes it over next, in this service or a later one.
            false => self.followed.running.leave(),
        }
    }
}

/// Where the terminal of a program goes on, and the position from which its output is to be handed over.
pub fn beginning(kept: &Kept) -> (Beginning, u64) {
    let checkpoint = kept.checkpoint.as_ref().and_then(|left| {
        Checkpoint::decode(&left.snapshot)
            .inspect_err(|error| {
                tracing::warn!(session = kept.listed.session, %error, "its screen begins anew");
            })
            .ok()
    });
    let from = kept.head();
    let (first, output) = kept.read_back(kept.first(), from);
    let size = Size {
        cols: kept.size.cols,
        rows: kept.size.rows,
    };
    let beginning = Beginning {
        checkpoint,
        first,
        output,
        size: Some(size),
        answered: kept.answered(),
    };
    (beginning, from)
}
