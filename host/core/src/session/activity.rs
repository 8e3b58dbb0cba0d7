//! What the program of a session does, by what its terminal says.
//!
//! Nothing looks at a session whose program prints nothing. One that prints is put before the
//! `watcher`, which looks at it now and then until its `pulse` is at rest, and reads its screen once
//! that has settled. Of a terminal that only the backend has it is the same with what the backend reports
//! (`elsewhere`).

mod elsewhere;
mod pulse;
mod readiness;
#[cfg(test)]
mod recorded;
mod rule_file;
mod rules;
mod settling;
mod title;
mod watcher;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use agentd_api::{Activity, ActivityState, State};
use agentd_terminal::Signals;
use tokio::time::Instant;

use super::{Observer, Session, lock};
use crate::clock;
use elsewhere::Elsewhere;
use pulse::Pulse;
use readiness::Readiness;

use rules::ProgramRules;
#[cfg(any(test, feature = "testing"))]
pub(crate) use rules::any_file;
pub use rules::{Picture, Rules};
pub use watcher::Watcher;

/// What is known of it.
pub struct Active {
    pulse: Mutex<Pulse>,
    rules: ProgramRules,
    /// None of a program that has long been started, or of which no rule says what its prompt looks like.
    readiness: Option<Box<Readiness>>,
    watcher: Arc<Watcher>,
    /// Whether the watcher has the session.
    watched: AtomicBool,
    /// From the first report on.
    elsewhere: OnceLock<Box<Mutex<Elsewhere>>>,
    observer: Arc<dyn Observer>,
}

impl Active {
    /// Of a program that is started so, and does not run yet if it `is_new`.
    pub fn new(
        command: &[String],
        is_new: bool,
        watcher: Arc<Watcher>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let rules = watcher.rules().of(command);
        Active {
            pulse: Mutex::new(Pulse::new(clock::now(), Instant::now())),
            readiness: (is_new && rules.know_prompt()).then(Box::default),
            rules,
            watcher,
            watched: AtomicBool::new(false),
            elsewhere: OnceLock::new(),
            observer,
        }
    }

    /// Who is notified of what happens to the session.
    pub fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    fn lock(&self) -> MutexGuard<'_, Pulse> {
        lock(&self.pulse)
    }
}

impl Session {
    /// What its program does.
    pub fn activity(&self) -> Activity {
        self.active.lock().shown().clone()
    }

    /// The same where this is known of its life: of what does not run nothing is known.
    pub(super) fn activity_as(&self, state: State) -> Activity {
        let activity = self.activity();
        match state {
            State::Running => activity,
            _ => Activity {
                state: ActivityState::Unknown,
                reason: None,
                ..activity
            },
        }
    }

    /// Has the watcher look at it, unless it does already.
    pub(super) fn watch(self: &Arc<Self>) {
        let active = &self.active;
        // Read first: that costs the most frequent caller nothing.
        if !active.watched.load(Ordering::Acquire) && !active.watched.swap(true, Ordering::AcqRel) {
            active.watcher.add(Arc::downgrade(self));
        }
    }

    /// The watcher does not look at it from now on, once it is at rest, whatever is printed: for benchmarks.
    #[cfg(feature = "testing")]
    pub async fn leave_unwatched(&self) {
        // Until the watcher has let go of it.
        while self.active.watched.swap(true, Ordering::AcqRel) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Undoes [`leave_unwatched`](Self::leave_unwatched).
    #[cfg(feature = "testing")]
    pub fn watch_again(&self) {
        self.active.watched.store(false, Ordering::Release);
    }

    /// Its life has changed.
    pub(super) fn set_active(self: &Arc<Self>, state: State) {
        if self.is_seen() {
            let runs = state == State::Running;
            let changed = self.active.lock().set_running(runs, Instant::now());
            self.show_activity(changed);
            self.watch();
        }
    }

    /// Its program has said this.
    pub(super) fn signalled(self: &Arc<Self>, signals: &Signals) {
        if !signals.is_empty() {
            let changed = self.active.lock().signal(signals, Instant::now());
            self.show_activity(changed);
            self.watch();
        }
    }

    /// A person has typed this.
    pub(super) fn typed(self: &Arc<Self>, input: &[u8]) {
        if is_typed(input) && self.is_seen() {
            let changed = self.active.lock().typed(Instant::now());
            self.show_activity(changed);
            self.watch();
        }
    }

    /// Waits until its program reads what is typed for it, where a rule says what its prompt looks like.
    /// Whether nobody has waited for that before.
    pub(super) async fn reads_keys(&self) -> bool {
        let Some(readiness) = &self.active.readiness else {
            return false;
        };
        if !self.comes_to_be_seen().await {
            return false;
        }
        tokio::select! {
            is_first = readiness.wait() => is_first,
            () = self.ended() => false,
        }
    }

    /// Whether its screen asks something. To see that costs nothing.
    fn is_asking(&self) -> bool {
        self.active.lock().is_asking()
    }

    /// Its program reads what is typed for it.
    async fn need_not_be_waited_for(&self) {
        if let Some(readiness) = &self.active.readiness {
            readiness.set();
            readiness.wait().await;
        }
    }

    /// Looks at how far the output has come. Whether the screen is to be read.
    fn look(self: &Arc<Self>, now: Instant) -> bool {
        let position = self.printed();
        let mut pulse = self.active.lock();
        let changed = pulse.look(position, now);
        let wants_screen = pulse.wants_screen(now);
        drop(pulse);
        self.show_activity(changed);
        wants_screen
    }

    /// Reads the screen.
    fn judge(self: &Arc<Self>) {
        let (position, picture) = self.picture();
        let verdict = self.active.rules.judge(&picture);
        let now = Instant::now();
        let mut pulse = self.active.lock();
        let changed = pulse.judge(position, &picture.title, verdict, now);
        let reads_keys = pulse.reads_keys();
        drop(pulse);
        if let Some(readiness) = &self.active.readiness {
            if picture.lines.iter().any(|line| !line.is_empty()) {
                readiness.set_drawn();
            }
            if reads_keys {
                readiness.set();
            }
        }
        self.show_activity(changed);
    }

    /// Whether the watcher has to look again.
    fn is_watched_on(self: &Arc<Self>) -> bool {
        let is_at_rest = || {
            let position = self.printed();
            self.active.lock().is_at_rest(position, Instant::now())
        };
        if !is_at_rest() {
            return true;
        }
        if let Some(readiness) = &self.active.readiness {
            readiness.rests();
        }
        self.active.watched.store(false, Ordering::Release);
        // What came between the last look and the line above finds that the watcher has it.
        !is_at_rest() && !self.active.watched.swap(true, Ordering::AcqRel)
    }

    /// Without the lock: whoever is notified may ask for the activity.
    fn show_activity(self: &Arc<Self>, changed: bool) {
        if changed {
            self.active.observer.active(self);
        }
    }
}

/// Whether a person has done something for the program: their terminal also reports by itself that it
/// has the focus, and where the mouse is.
fn is_typed(input: &[u8]) -> bool {
    let reports: [&[u8]; 4] = [b"\x1b[I", b"\x1b[O", b"\x1b[<", b"\x1b[M"];
    !input.is_empty() && !reports.iter().any(|report| input.starts_with(report))
}
