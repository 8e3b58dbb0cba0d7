use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::reading::Reading;

/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Sessions that may have memory of a flood to give back, once they do not flood.
#[derive(Default)]
pub struct Leftovers {
    flooded: BTreeSet<u64>,
    tried_at: Option<Instant>,
}

impl Leftovers {
    /// There may be something to give back.
    pub fn add(&mut self, index: u64) {
        self.flooded.insert(index);
    }

    /// How long the keeper may sleep; none where there is nothing to give back.
    pub fn pause(&self) -> Option<Duration> {
        (!self.flooded.is_empty()).then_some(PAUSE)
    }

    /// Gives back what can be, unless that was tried a moment ago.
    pub fn give_back(&mut self, reading: &Reading) {
        let is_early = self.tried_at.is_some_and(|at| at.elapsed() < PAUSE);
        if self.flooded.is_empty() || is_early {
            return;
        }
        self.tried_at = Some(Instant::now());
        let floods = |index: &u64| reading.get(*index).is_some_and(|one| !one.give_back());
        self.flooded.retain(floods);
    }
}
