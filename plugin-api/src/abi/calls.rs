//! Where a library's code runs when the daemon calls it.

use std::future::{Future, poll_fn};
use std::pin::pin;

use abi_stable::std_types::RResult::{self, ROk};
use abi_stable::std_types::RString;
use async_ffi::FfiFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::interface::{AbiError, SessionBox};
use crate::{Error, Result};

/// Of one library. While all of them are blocked its other calls wait, and nobody else's.
const THREADS: usize = 16;

/// Runs the calls into one library.
pub enum Calls {
    /// On the thread of the caller.
    Here,
    /// On threads that do nothing else: a library may block them, or not yield.
    Aside(Threads),
}

/// Threads for one library's calls.
pub struct Threads {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    /// The daemon's, which is the current one of what the library calls back.
    daemon: Handle,
}

/// A session, and what it answered when it was asked for its attach command right after its start: a
/// library may block there, too.
pub struct Started {
    pub session: RResult<SessionBox, AbiError>,
    /// None where it was not asked.
    pub attach_command: Option<RResult<RString, AbiError>>,
}

impl Started {
    fn unasked(session: RResult<SessionBox, AbiError>) -> Self {
        let attach_command = None;
        Started {
            session,
            attach_command,
        }
    }

    async fn asked(start: FfiFuture<RResult<SessionBox, AbiError>>) -> Self {
        let session = start.await;
        let attach_command = match &session {
            ROk(session) => Some(session.attach_command()),
            RResult::RErr(_) => None,
        };
        Started {
            session,
            attach_command,
        }
    }

    async fn end(self) {
        if let ROk(session) = self.session
            && let Err(error) = session.terminate(0).await.into_result()
        {
            let error = Error::from(error);
            tracing::warn!(%error, "a session that nobody waited for may run on");
        }
    }
}

impl Calls {
    /// On new threads. Called on the daemon's runtime.
    pub fn aside() -> Result<Self> {
        let mut threads = Builder::new_multi_thread();
        let threads = threads
            .worker_threads(THREADS)
            .thread_name("agentd-library");
        let failed = |error| Error::internal(format!("starting threads for a library: {error}"));
        Ok(Calls::Aside(Threads {
            runtime: Some(threads.build().map_err(failed)?),
            daemon: Handle::current(),
        }))
    }

    /// What comes of a call. It is cancelled when this is dropped, at the latest when it yields.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Calls::Here => Ok(call.await),
            Calls::Aside(threads) => Cancelled(threads.spawn(call)).returned().await,
        }
    }

    /// The same for the taking over of a session.
    pub async fn adopt(&self, adopt: FfiFuture<RResult<SessionBox, AbiError>>) -> Result<Started> {
        match self {
            Calls::Here => Ok(Started::unasked(adopt.await)),
            Calls::Aside(_) => self.call(Started::asked(adopt)).await,
        }
    }

    /// The same for a start. A session is ended again that was started when nobody waited any more.
    pub async fn start(&self, start: FfiFuture<RResult<SessionBox, AbiError>>) -> Result<Started> {
        let Calls::Aside(threads) = self else {
            return Ok(Started::unasked(start.await));
        };
        let start = Started::asked(start);
        let (mut sender, receiver) = oneshot::channel();
        threads.spawn(async move {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                started = start => {
                    if let Err(unclaimed) = sender.send(started) {
                        unclaimed.end().await;
                    }
                }
            }
        });
        let mut waiting = Waiting { receiver, threads };
        (&mut waiting.receiver).await.map_err(|_| gone())
    }
}

impl Threads {
    fn spawn<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let daemon = self.daemon.clone();
        let call = async move {
            let mut call = pin!(call);
            poll_fn(|context| {
                let _entered = daemon.enter();
                call.as_mut().poll(context)
            })
            .await
        };
        match &self.runtime {
            Some(runtime) => runtime.spawn(call),
            None => unreachable!("it is only taken when this is dropped"),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Those that are blocked are left to the end of the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A call that is cancelled when this is dropped.
struct Cancelled<T>(JoinHandle<T>);

impl<T> Cancelled<T> {
    async fn returned(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|_| gone())
    }
}

impl<T> Drop for Cancelled<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One who waits for a start, and may leave when it is done already.
struct Waiting<'a> {
    receiver: oneshot::Receiver<Started>,
    threads: &'a Threads,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(unclaimed) = self.receiver.try_recv() {
            self.threads.spawn(unclaimed.end());
        }
    }
}

fn gone() -> Error {
    Error::internal("a call into the library panicked, or the library is let go of")
}
