#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_api::State;
use agentd_plugin_api::Event;
use tokio::sync::watch;

use super::Record;

/// The life of one session, behind one lock. `R` is the backend's side of the session.
///
/// | stage \ input | shutdown, stop or delete | the call returned | it failed or was undone | it is given up | forget |
/// |---|---|---|---|---|---|
/// | `Starting` | `Cancelling` | `Held` | `NotStarted` | `LeftAlone` | – |
/// | `Cancelling` | `Cancelling` | `Held` | `NotStarted` | `LeftAlone` | – |
/// | `Held` | `Held` | – | – | – | `Forgotten` |
/// | `NotStarted` | `NotStarted` | – | – | – | `Forgotten` |
/// | `LeftAlone` | `LeftAlone` | – | – | – | `Forgotten` |
/// | `Forgotten` | `Forgotten` | – | – | – | `Forgotten` |
///
/// "The call" is the backend's `start` or `adopt`; – cannot happen, and changes nothing if it does.
/// What was asked for only grows, from nothing over a shutdown and a stop to a deletion. What the
/// backend reports changes the record in every stage until the record says that the session has ended; in
/// `NotStarted`, `LeftAlone` and `Forgotten` it always does. What cannot be taken over has not ended all the
/// same: the change to `LeftAlone` is not given to the observer, and a session that was left alone stays out
/// of reach when it is forgotten.
///
/// Each change of the record is given to `observer` once and in order: it is queued under the lock,
/// and whoever finds nobody giving out what is queued does so, without the lock.
pub(super) struct Life<R> {
    state: Mutex<LifeState<R>>,
    /// Changes after each transition.
    transitions: watch::Sender<()>,
    observer: Box<dyn Fn(&Change) + Send + Sync>,
}

/// What an observer is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What was known.
    pub before: Record,
    /// What is known now.
    pub after: Record,
}

/// What somebody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    #[default]
    Nothing,
    /// To end it because the service ends.
    Shutdown,
    /// To end it and keep it.
    Stop,
    /// To end it and forget it.
    Delete,
}

enum Stage<R> {
    /// The call is under way.
    Starting,
    /// So it is, and an end was asked for: the call is dropped, and the backend undoes it.
    Cancelling,
    /// The backend has the session, as long as it runs and afterwards.
    Held(Held<R>),
    /// The backend has nothing, and the session is still listed.
    NotStarted,
    /// It could not be taken over from an earlier daemon, and the backend may have it all the same.
    LeftAlone,
    /// The session is no longer listed. The backend has nothing, unless it was left alone.
    Forgotten { left_alone: bool },
}

struct Held<R> {
    remote: Arc<R>,
    attach_command: Option<Vec<String>>,
}

struct LifeState<R> {
    stage: Stage<R>,
    asked: Asked,
    /// Who asked for it, or why, as its exit says.
    asked_by: Option<String>,
    record: Record,
    /// Not yet given to the observer.
    changes: VecDeque<Change>,
    /// Somebody is giving them out.
    delivering: bool,
}

impl<R> Life<R> {
    /// The life of a session whose call is about to be made.
    pub fn new(record: Record, observer: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        let state = LifeState {
            stage: Stage::Starting,
            asked: Asked::Nothing,
            asked_by: None,
            record,
            changes: VecDeque::new(),
            delivering: false,
        };
        Life {
            state: Mutex::new(state),
            transitions: watch::Sender::new(()),
            observer: Box::new(observer),
        }
    }

    pub fn record(&self) -> Record {
        self.lock().record.clone()
    }

    pub fn asked(&self) -> Asked {
        self.lock().asked
    }

    /// The backend's side, once its call has returned.
    pub fn remote(&self) -> Option<Arc<R>> {
        self.lock().remote()
    }

    /// Whether the backend's call is under way.
    pub fn is_starting(&self) -> bool {
        self.lock().is_starting()
    }

    pub fn attach_command(&self) -> Option<Vec<String>> {
        match &self.lock().stage {
            Stage::Held(held) => held.attach_command.clone(),
            _ => None,
        }
    }

    /// The backend reports something.
    pub fn report(&self, event: Event) {
        self.transition(|state| {
            state.apply(event);
        });
    }

    /// Somebody asks for the end.
    pub fn ask(&self, asked: Asked) {
        self.ask_as(asked, None);
    }

    /// The same, and `by` is what the exit says of it: who asked last counts.
    pub fn ask_as(&self, asked: Asked, by: Option<String>) {
        self.transition(|state| {
            if asked >= state.asked && by.is_some() {
                state.asked_by = by;
            }
            state.asked = state.asked.max(asked);
            if matches!(state.stage, Stage::Starting) && asked != Asked::Nothing {
                state.stage = Stage::Cancelling;
            }
        });
    }

    /// The call has returned. Unless the backend said otherwise, what it started runs.
    pub fn started(&self, remote: R, attach_command: Option<Vec<String>>) {
        self.transition(|state| {
            if !state.is_starting() {
                return;
            }
            state.stage = Stage::Held(Held {
                remote: Arc::new(remote),
                attach_command,
            });
            let record = &mut state.record;
            let is_silent = matches!(record.state, State::Starting | State::Unknown)
                && record.progress.is_none();
            if is_silent {
                record.state = State::Running;
            }
        });
    }

    /// The call has failed, or was dropped and is undone.
    pub fn not_started(&self, reason: String) {
        self.transition(|state| {
            if state.is_starting() {
                state.stage = Stage::NotStarted;
                state.lose(reason);
            }
        });
    }

    /// It cannot be taken over.
    pub fn leave_alone(&self, reason: String) {
        self.transition(|state| {
            if state.is_starting() {
                state.stage = Stage::LeftAlone;
                state.lose(reason);
            }
        });
    }

    /// Whether it could not be taken over.
    pub fn is_left_alone(&self) -> bool {
        self.lock().is_left_alone()
    }

    /// The session is no longer listed, and nothing of it is left.
    pub fn forget(&self) {
        let forgotten = self.transition(|state| {
            if state.is_starting() {
                return None;
            }
            state.lose("it was deleted".to_owned());
            let left_alone = state.is_left_alone();
            let forgotten = Stage::Forgotten { left_alone };
            Some(std::mem::replace(&mut state.stage, forgotten))
        });
        // The backend's own code, which runs without our lock.
        drop(forgotten);
    }

    /// Waits until the session can be used, or has ended.
    pub async fn has_started(&self) {
        self.wait_for(|state| {
            let usable = !state.is_starting() && state.record.state != State::Starting;
            (usable || state.record.state == State::Exited).then_some(())
        })
        .await;
    }

    /// Waits until the session has ended, and the observer has been given that.
    pub async fn has_ended(&self) {
        self.wait_for(|state| {
            let ended = state.record.state == State::Exited;
            (ended && !state.delivering).then_some(())
        })
        .await;
    }

    /// Waits until the observer has been given all that has happened.
    pub async fn is_observed(&self) {
        self.wait_for(|state| (!state.delivering).then_some(()))
            .await;
    }

    /// Waits until the session is no longer listed.
    pub async fn is_forgotten(&self) {
        self.wait_for(|state| matches!(state.stage, Stage::Forgotten { .. }).then_some(()))
            .await;
    }

    /// Waits until an end is asked for.
    pub async fn end_asked(&self) {
        self.wait_for(|state| (state.asked != Asked::Nothing).then_some(()))
            .await;
    }

    /// Waits until the backend's call is over: what it returned, if it is there.
    pub async fn call_over(&self) -> Option<Arc<R>> {
        self.wait_for(|state| (!state.is_starting()).then(|| state.remote()))
            .await
    }

    async fn wait_for<T>(&self, look: impl Fn(&LifeState<R>) -> Option<T>) -> T {
        let mut transitions = self.transitions.subscribe();
        loop {
            if let Some(seen) = look(&self.lock()) {
                return seen;
            }
            // The sender lives as long as `self`.
            let _ = transitions.changed().await;
        }
    }

    fn transition<T>(&self, change: impl FnOnce(&mut LifeState<R>) -> T) -> T {
        let mut state = self.lock();
        let before = state.record.clone();
        let result = change(&mut state);
        if state.record != before && !state.is_left_alone() {
            let after = state.record.clone();
            state.changes.push_back(Change { before, after });
        }
        let delivers = !state.changes.is_empty() && !state.delivering;
        state.delivering |= delivers;
        drop(state);
        self.transitions.send_replace(());
        if delivers {
            self.deliver();
        }
        result
    }

    fn deliver(&self) {
        let mut delivery = Delivery {
            life: self,
            over: false,
        };
        delivery.give_all();
    }

    fn lock(&self) -> MutexGuard<'_, LifeState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> LifeState<R> {
    fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Cancelling)
    }

    fn is_left_alone(&self) -> bool {
        matches!(
            self.stage,
            Stage::LeftAlone | Stage::Forgotten { left_alone: true }
        )
    }

    fn remote(&self) -> Option<Arc<R>> {
        match &self.stage {
            Stage::Held(held) => Some(held.remote.clone()),
            _ => None,
        }
    }

    fn lose(&mut self, reason: String) {
        self.apply(Event::Lost { reason });
    }

    fn apply(&mut self, event: Event) {
        self.record
            .apply(event, self.asked, self.asked_by.as_deref());
    }
}

/// The turn of the one who gives changes to the observer. An observer that panics loses the change
/// that it was given: those after it are given before the panic goes on.
struct Delivery<'a, R> {
    life: &'a Life<R>,
    over: bool,
}

impl<R> Delivery<'_, R> {
    fn give_all(&mut self) {
        while let Some(change) = self.next() {
            (self.life.observer)(&change);
        }
    }

    fn next(&mut self) -> Option<Change> {
        let mut state = self.life.lock();
        let change = state.changes.pop_front();
        // Under the same lock, so that whoever queues a change from now on delivers it.
        self.over = change.is_none();
        state.delivering = !self.over;
        if self.over {
            // Sessions are many, and their changes few.
            state.changes = VecDeque::new();
        }
        change
    }
}

impl<R> Drop for Delivery<'_, R> {
    fn drop(&mut self) {
        // A panic during a panic would abort.
        while !self.over {
            let _ = catch_unwind(AssertUnwindSafe(|| self.give_all()));
        }
        // For those who wait until it was given.
        self.life.transitions.send_replace(());
    }
}
