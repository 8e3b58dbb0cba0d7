use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agentd_api::State;
use agentd_host::session::{End, Remains, Session};
use agentd_host::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore, watch};

use crate::agent::past;
use crate::crash_point::CrashPoint;
use crate::store::Store;

mod held;

use held::{Held, Output};

/// The output of so many sessions is held in memory at a time, on its way to the disk.
const AT_ONCE: usize = 4;

/// How much of the output of sessions that have ended is kept, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct OutputLimits {
    /// Of one agent, at most.
    pub of_agent: usize,
    /// Of all agents, at most.
    pub in_all: usize,
}

/// Keeps what the sessions that end have written and shown last: of each session once, whoever
/// notices its end.
pub struct Outputs {
    store: Arc<Store>,
    limits: OutputLimits,
    runtime: Handle,
    /// By the session's id, done when its output is kept.
    turns: Mutex<HashMap<String, Weak<OnceCell<()>>>>,
    room: Semaphore,
    /// What the disk has not taken.
    held: Arc<Held>,
    /// How many are still to be kept.
    unfinished: watch::Sender<usize>,
}

impl Outputs {
    /// Keeps them in `store`. Made on the host's runtime.
    pub fn new(store: Arc<Store>, limits: OutputLimits) -> Self {
        Outputs {
            store,
            limits,
            runtime: Handle::current(),
            turns: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            held: Arc::default(),
            unfinished: watch::Sender::new(0),
        }
    }

    /// The session has ended: what it left is kept soon.
    pub fn keep_soon(self: &Arc<Self>, session: &Arc<Session>) {
        let unfinished = Unfinished::one_more(self);
        let session = session.clone();
        self.runtime.spawn(async move {
            unfinished.0.keep(&session).await;
        });
    }

    /// Waits until what the session left is kept, which has ended.
    pub async fn keep(&self, session: &Arc<Session>) {
        let turn = self.turn(&session.id);
        turn.get_or_init(async || {
            if self.store.has_output(&session.id).await.unwrap_or(false) {
                session.let_go();
                return;
            }
            // Never closed.
            let _room = self.room.acquire().await;
            let remains = session.remains(self.limits.of_agent).await;
            self.save(session, remains).await;
        })
        .await;
    }

    /// Ends the session and keeps what it leaves, of which its backend may have nothing after that.
    pub async fn keep_after(&self, session: &Arc<Session>, end: End<'_>) -> Result<()> {
        if session.has_own_output() {
            return end.await;
        }
        if session.record().state == State::Exited {
            self.keep(session).await;
            return end.await;
        }
        let mut end = Some(end);
        let turn = self.turn(&session.id);
        let keep = async || {
            if let Some(end) = end.take() {
                let remains = session.remains_after(end, self.limits.of_agent).await?;
                self.save(session, remains).await;
            }
            Ok::<(), Error>(())
        };
        turn.get_or_try_init(keep).await?;
        // It ended by itself a moment before.
        match end {
            Some(end) => end.await,
            None => Ok(()),
        }
    }

    /// Waits until all is kept that is to be kept now.
    pub async fn idle(&self) {
        // The sender lives as long as `self`.
        let _ = self
            .unfinished
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
    }

    /// What is kept of a session, or will be when there is room for it.
    pub async fn read(&self, agent: &str, session: &str) -> Result<Option<Remains>> {
        match self.held.get(agent, session) {
            Some(remains) => Ok(Some(remains)),
            None => self.store.output(agent, session).await,
        }
    }

    async fn save(&self, session: &Arc<Session>, remains: Remains) {
        let Some(owner) = session.label.owner.clone() else {
            return;
        };
        let ended = past(session, remains.exit.clone());
        let output = Output {
            owner,
            ended,
            remains,
            session: Some(session.clone()),
        };
        CrashPoint::OutputTaken.reached();
        match output.save(&self.store, self.limits).await {
            Ok(()) => CrashPoint::OutputKept.reached(),
            Err(error) if error.kind == ErrorKind::Unavailable => {
                tracing::warn!(session = %session.name, %error, "its output is not kept yet");
                if self.held.push(output) {
                    let (held, store, limits) =
                        (self.held.clone(), self.store.clone(), self.limits);
                    self.runtime
                        .spawn(async move { held.save(&store, limits).await });
                }
            }
            Err(error) => {
                tracing::warn!(session = %session.name, %error, "its output is not kept");
            }
        }
    }

    fn turn(&self, session: &str) -> Arc<OnceCell<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(session).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(session.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Counts as unfinished until it is dropped.
struct Unfinished(Arc<Outputs>);

impl Unfinished {
    fn one_more(outputs: &Arc<Outputs>) -> Self {
        outputs.unfinished.send_modify(|count| *count += 1);
        Unfinished(outputs.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.unfinished.send_modify(|count| *count -= 1);
    }
}
