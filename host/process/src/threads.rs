//! Threads beside those that serve.

use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::{Error, Result};

/// Runs what may block its thread, such as a system call on a file system that does not answer. In
/// a thread of its own: tokio's `spawn_blocking` waits for ever when no thread can be made, and
/// this then runs it at once.
pub async fn blocking<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    let (give, mut result) = oneshot::channel();
    // Shared, as a thread that cannot be made takes what it should have run with it.
    let work = Arc::new(Mutex::new(Some(f)));
    let taken = work.clone();
    let run = move || {
        let work = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(f) = work {
            // Nobody waits for it any more where this fails.
            let _ = give.send(f());
        }
    };
    let builder = thread::Builder::new().name("agentd-blocking".to_owned());
    if builder.spawn(run).is_err() {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        return work.map(|f| f()).ok_or_else(|| {
            Error::internal("the work was taken by a thread that could not be started")
        });
    }
    (&mut result)
        .await
        .map_err(|_| Error::internal("a thread of the backend panicked"))
}

/// Builds a runtime. That no thread can be made is an error here, for which tokio panics.
pub fn runtime(builder: &mut Builder) -> io::Result<Runtime> {
    // Made and ended at once, to learn the reason.
    let probe = thread::Builder::new().spawn(|| ())?;
    let _ = probe.join();
    let built = catch_unwind(AssertUnwindSafe(|| builder.build()));
    // What could be made a moment ago.
    built.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
}

/// A runtime with threads of its own, which may be dropped anywhere, also in a task.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts what `builder` describes; see [`runtime`].
    pub fn start(builder: &mut Builder) -> io::Result<Self> {
        Ok(Threads(Some(runtime(builder)?)))
    }

    /// For what may be busy all the time: one thread for two processors, at most `most`, without
    /// timers and sockets. They sleep while there is nothing to do.
    pub fn for_floods(name: &str, most: usize) -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads((processors / 2).clamp(1, most))
            .thread_name(name)
            .enable_time();
        Threads::start(&mut builder)
    }

    /// For tasks that shall run there.
    pub fn handle(&self) -> &Handle {
        // The runtime is only taken out by `drop`.
        self.0
            .as_ref()
            .map(Runtime::handle)
            .unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last owner may be one of the runtime's own threads, which must not wait.
            runtime.shutdown_background();
        }
    }
}
