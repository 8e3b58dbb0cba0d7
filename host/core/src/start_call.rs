//! Calls into a library while the service starts. A library is foreign code: it may never return,
//! and may block the thread that it is called on.
//!
//! One thing has no deadline here: a library whose initialisers block holds the dynamic linker's
//! lock, for which the other threads then wait too. Only the forced end after a signal helps then
//! (`signals.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval_at, sleep};

/// After this time the log says what the service waits for, and then each time again.
const NOTICE: Duration = Duration::from_secs(1);

/// Calls that have not returned.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Why a call gave no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartCallError {
    /// It did not come within `AGENTD_BACKEND_START_TIMEOUT_SECS`.
    #[error("{what} has not finished within {} s", limit.as_secs())]
    Overdue {
        /// What was called, such as "connecting to the backend".
        what: String,
        /// How long it had.
        limit: Duration,
    },
    /// No thread could be started for it, or it panicked in the host's own code.
    #[error("{what} failed: {reason}")]
    Failed {
        /// What was called.
        what: String,
        /// Why.
        reason: String,
    },
}

impl StartCallError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            StartCallError::Overdue { .. } => {
                "the backend's library, or what it waits for, is stuck: see to that, or give it \
                 more time with AGENTD_BACKEND_START_TIMEOUT_SECS"
            }
            StartCallError::Failed { .. } => "start the service again",
        }
    }
}

/// Runs `call` on a thread of its own, for `limit` at most. When it takes longer, or when nobody
/// waits any more, the thread is left behind.
pub async fn run<T: Send + 'static>(
    what: &str,
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartCallError> {
    let failed = |reason: String| StartCallError::Failed {
        what: what.to_owned(),
        reason,
    };
    let (done, mut result) = oneshot::channel();
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let running = Running;
    let spawned = thread::Builder::new()
        .name("backend-start".to_owned())
        .spawn(move || {
            let _running = running;
            // Fails when nobody waits any more.
            let _ = done.send(call());
        });
    spawned.map_err(|error| failed(error.to_string()))?;

    let start = Instant::now();
    let mut notices = interval_at(start + NOTICE, NOTICE.max(limit / 4));
    let mut overdue = std::pin::pin!(sleep(limit));
    loop {
        tokio::select! {
            biased;
            result = &mut result => return result.map_err(|_| failed("it panicked".to_owned())),
            // Before the end, also where this is looked at after both.
            _ = notices.tick() => {
                let (waited, limit) = (start.elapsed().as_secs(), limit.as_secs());
                tracing::info!("still {what}, for {waited} s of at most {limit} s");
            }
            () = &mut overdue => {
                return Err(StartCallError::Overdue { what: what.to_owned(), limit });
            }
        }
    }
}

/// As [`run`], for a call that is a future.
pub async fn run_async<T: Send + 'static>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, StartCallError> {
    let runtime = Handle::current();
    run(what, limit, move || runtime.block_on(call)).await
}

/// Whether a call has been left behind. Its thread is somewhere in a library, so the process must
/// end without running anybody's exit handlers.
pub fn is_one_left_behind() -> bool {
    RUNNING.load(Ordering::SeqCst) > 0
}

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}
