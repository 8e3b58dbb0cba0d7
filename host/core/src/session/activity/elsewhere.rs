use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use agentd_api::State;
use agentd_plugin_api::{Capability, Screen};
use agentd_terminal::Signals;
use tokio::time::{Instant, sleep, timeout};

use super::Picture;
use crate::session::{Session, lock};

/// A backend reports more often than that what a program shows that prints on.
const LULL: Duration = Duration::from_secs(1);

/// A backend that reports what a program shows does so within that time after its start.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether it has done so is looked at so often.
const LOOK: Duration = Duration::from_millis(20);

/// What a program shows whose terminal only its backend has, as far as that reports it.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// How often it was reported, which is a position in the output as far as the activity needs one.
    position: u64,
    picture: Picture,
    /// The bell has rung and nobody has attended to it.
    rings: bool,
}

impl Session {
    /// Its backend reports what it shows.
    pub(in crate::session) fn shows(self: &Arc<Self>, screen: Screen) {
        // The session's own is what counts.
        if self.has_terminal() {
            return;
        }
        let now = Instant::now();
        let mut first = false;
        let elsewhere = self.active.elsewhere.get_or_init(|| {
            first = true;
            Box::default()
        });
        let mut elsewhere = lock(elsewhere);
        let before = std::mem::replace(&mut elsewhere.rings, screen.bell);
        elsewhere.position += 1;
        elsewhere.picture = Picture {
            lines: screen.lines,
            cursor: screen.cursor,
            title: screen.title,
        };
        let mut pulse = self.active.lock();
        let mut changed = false;
        if first {
            pulse.is_seen_late(LULL);
            changed |= pulse.set_running(self.record().state == State::Running, now);
        }
        changed |= match (before, screen.bell) {
            (false, true) => {
                let bell = Signals {
                    bell: true,
                    ..Signals::default()
                };
                pulse.signal(&bell, now)
            }
            (true, false) => pulse.attended(now),
            _ => false,
        };
        drop(pulse);
        drop(elsewhere);
        self.show_activity(changed);
        self.watch();
    }

    /// Whether it is known what it shows.
    pub(super) fn is_seen(&self) -> bool {
        self.has_terminal() || self.active.elsewhere.get().is_some()
    }

    /// The same, and of one that has just been started waits until its backend reports that, if it ever does.
    pub(super) async fn comes_to_be_seen(&self) -> bool {
        // What has lines with a time of their own has no terminal.
        if self.is_seen() || self.backend.has(&Capability::Logs) {
            return self.is_seen();
        }
        let seen = async {
            while !self.is_seen() {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, seen).await.is_ok()
    }

    /// Up to where there is output.
    pub fn printed(&self) -> u64 {
        match self.elsewhere() {
            Some(elsewhere) => elsewhere.position,
            None => self.terminal.log().head(),
        }
    }

    /// What it shows, and the position up to which that was read.
    pub(super) fn picture(&self) -> (u64, Picture) {
        match self.elsewhere() {
            Some(elsewhere) => (elsewhere.position, elsewhere.picture.clone()),
            None => self.terminal.picture(),
        }
    }

    /// The last lines of what it shows that are not empty, as far as it runs and that is known here, and the
    /// position up to which that was read.
    pub fn last_shown(&self, count: usize) -> Option<(u64, Vec<String>)> {
        let Some(elsewhere) = self.elsewhere() else {
            return self.terminal.last_lines(count);
        };
        let lines = elsewhere.picture.lines.iter();
        let lines = lines.rev().filter(|line| !line.trim().is_empty());
        let mut last: Vec<String> = lines.take(count).cloned().collect();
        last.reverse();
        Some((elsewhere.position, last))
    }

    fn elsewhere(&self) -> Option<MutexGuard<'_, Elsewhere>> {
        self.active.elsewhere.get().map(|it| lock(it))
    }
}
