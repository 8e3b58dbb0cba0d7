//! The library's side: an author's backend, erased and guarded.

use std::any::Any;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};
use async_ffi::FfiFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle};

use super::interface::*;
use crate::host::{Call, HostServices, RunningProgram, TerminalServices};
use crate::sink::Receiver;
use crate::threads::Threads;
use crate::{
    Backend, Error, ErrorKind, Host, LogSink, Manifest, Program, PushStatus, Result, Session,
    SessionEvents, Size, forward,
};

type AbiResult<T> = RResult<T, AbiError>;

/// What the root symbol hands to the daemon.
pub fn root_module<B: Backend>() -> BackendModule_Ref {
    forward::capture_panics();
    BackendModule {
        manifest: manifest::<B>,
        connect: connect::<B>,
    }
    .leak_into_prefix()
}

extern "C" fn manifest<B: Backend>() -> AbiResult<RString> {
    guard(|| to_json(&B::manifest()))
}

extern "C" fn connect<B: Backend>(
    host: HostBox,
    config: RString,
) -> FfiFuture<AbiResult<BackendBox>> {
    let connected = guard(move || {
        let host = Host::new(Arc::new(RemoteHost(host)));
        forward::connect(&host);
        check_api(&host, &B::manifest())?;
        let runtime = own_runtime()?;
        Ok(call(runtime.handle().clone(), move || async move {
            let backend = B::connect(host, from_json(&config)?).await?;
            Ok(erase(backend, runtime))
        }))
    });
    match connected {
        RResult::ROk(call) => call,
        RResult::RErr(error) => FfiFuture::new(std::future::ready(RResult::RErr(error))),
    }
}

/// A backend that is part of the daemon's own program.
pub(super) fn erase_here<B: Backend>(backend: B) -> Result<BackendBox> {
    Ok(erase(backend, own_runtime()?))
}

fn erase<B: Backend>(backend: B, runtime: Arc<Threads>) -> BackendBox {
    AbiBackend_TO::from_value(Erased::new(Arc::new(backend), runtime), TD_Opaque)
}

/// Refuses a daemon that is too old for the backend.
fn check_api(host: &Host, manifest: &Manifest) -> Result<()> {
    let Some(needed) = &manifest.needs_api else {
        return Ok(());
    };
    let number = |version: &str| -> Vec<u32> {
        let numbers = version.split('.').take(2);
        numbers.map_while(|number| number.parse().ok()).collect()
    };
    let has = host.api_version();
    if number(&has) >= number(needed) {
        return Ok(());
    }
    let name = &manifest.name;
    Err(Error::invalid(format!(
        "the backend `{name}` needs version {needed} of agentd-plugin-api, and this daemon has {has}"
    ))
    .hint("install a newer agentd, or the library that came with this one"))
}

/// An author's value and the runtime that its futures are polled in.
struct Erased<T> {
    inner: ManuallyDrop<Arc<T>>,
    runtime: Arc<Threads>,
}

impl<T> Erased<T> {
    fn new(inner: Arc<T>, runtime: Arc<Threads>) -> Self {
        Erased {
            inner: ManuallyDrop::new(inner),
            runtime,
        }
    }

    fn share(&self) -> Erased<T> {
        Erased::new(Arc::clone(&self.inner), self.runtime.clone())
    }
}

impl<T> Drop for Erased<T> {
    /// The author's own `drop` may spawn and may panic.
    fn drop(&mut self) {
        // SAFETY: taken nowhere else, and not used after this.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        discard(inner, self.runtime.handle());
    }
}

impl<T: Send + Sync + 'static> Erased<T> {
    fn call<R, F>(&self, f: impl FnOnce(Arc<T>) -> F) -> FfiFuture<AbiResult<R>>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        call(self.runtime.handle().clone(), move || f(inner))
    }

    fn session<S: Session>(&self, session: S) -> SessionBox {
        let erased = Erased::new(Arc::new(session), self.runtime.clone());
        AbiSession_TO::from_value(erased, TD_Opaque)
    }
}

impl<B: Backend> AbiBackend for Erased<B> {
    fn start(&self, spec: RString, events: ReceiverBox) -> FfiFuture<AbiResult<SessionBox>> {
        let this = self.share();
        self.call(move |backend| async move {
            let session = backend
                .start(from_json(&spec)?, session_events(events))
                .await?;
            Ok(this.session(session))
        })
    }

    fn list(&self) -> FfiFuture<AbiResult<RString>> {
        self.call(|backend| async move { to_json(&backend.list().await?) })
    }

    fn adopt(&self, id: RString, events: ReceiverBox) -> FfiFuture<AbiResult<SessionBox>> {
        let this = self.share();
        self.call(move |backend| async move {
            let session = backend
                .adopt(id.into_string(), session_events(events))
                .await?;
            Ok(this.session(session))
        })
    }
}

impl<S: Session> AbiSession for Erased<S> {
    fn write(&self, input: RVec<u8>) -> FfiFuture<AbiResult<()>> {
        self.call(move |session| async move { session.write(input.as_slice().to_vec()).await })
    }

    fn prompt(&self, text: RString, submit: bool) -> FfiFuture<AbiResult<()>> {
        self.call(move |session| async move { session.prompt(text.into_string(), submit).await })
    }

    fn resize(&self, cols: u16, rows: u16) -> FfiFuture<AbiResult<()>> {
        self.call(move |session| async move { session.resize(Size { cols, rows }).await })
    }

    fn logs(&self, query: RString, sink: ReceiverBox) -> FfiFuture<AbiResult<()>> {
        self.call(move |session| async move {
            let sink = LogSink::new(Arc::new(RemoteReceiver(sink)));
            session.logs(from_json(&query)?, sink).await
        })
    }

    fn attach_command(&self) -> AbiResult<RString> {
        let _entered = self.runtime.handle().enter();
        guard(|| to_json(&self.inner.attach_command()))
    }

    fn terminate(&self, grace_ms: u64) -> FfiFuture<AbiResult<()>> {
        let grace = Duration::from_millis(grace_ms);
        self.call(move |session| async move { session.terminate(grace).await })
    }
}

fn session_events(receiver: ReceiverBox) -> SessionEvents {
    SessionEvents::of_daemon(RemoteReceiver(receiver))
}

struct RemoteHost(HostBox);

impl HostServices for RemoteHost {
    fn enabled(&self, level: u8, target: &str) -> bool {
        self.0.enabled(level, RStr::from_str(target))
    }

    fn log(&self, level: u8, target: &str, message: &str) {
        self.0
            .log(level, RStr::from_str(target), RStr::from_str(message));
    }

    fn hold_reaping(&self) {
        self.0.hold_reaping();
    }

    fn release_reaping(&self, owned: Option<u32>) {
        self.0.release_reaping(owned.into());
    }

    fn api_version(&self) -> String {
        self.0.api_version().into_string()
    }

    fn run_on_terminal(&self, program: Program, events: SessionEvents) -> Call<RunningProgram> {
        let call = to_json(&program).map(|program| self.0.run_on_terminal(program));
        Box::pin(async move { terminal(call?, events).await })
    }

    fn resume_on_terminal(&self, session: String, events: SessionEvents) -> Call<RunningProgram> {
        let call = self.0.resume_on_terminal(session.into());
        Box::pin(terminal(call, events))
    }
}

/// The daemon finds the session's events by its id, as long as the library has them.
async fn terminal(
    call: FfiFuture<AbiResult<SessionBox>>,
    events: SessionEvents,
) -> Result<RunningProgram> {
    let terminal = call.await.into_result();
    drop(events);
    Ok(Arc::new(RemoteTerminal(terminal?)))
}

struct RemoteTerminal(SessionBox);

impl TerminalServices for RemoteTerminal {
    fn write(&self, input: Vec<u8>) -> Call<()> {
        nothing(self.0.write(input.into()))
    }

    fn resize(&self, size: Size) -> Call<()> {
        nothing(self.0.resize(size.cols, size.rows))
    }

    fn terminate(&self, grace: Duration) -> Call<()> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        nothing(self.0.terminate(grace))
    }

    // The daemon notices that its end is dropped.
    fn abandon(&self) {}
}

fn nothing(call: FfiFuture<AbiResult<()>>) -> Call<()> {
    Box::pin(async { Ok(call.await.into_result()?) })
}

pub struct RemoteReceiver(ReceiverBox);

impl Receiver for RemoteReceiver {
    #[inline]
    fn push(&self, bytes: &[u8]) -> PushStatus {
        self.0.push(RSlice::from_slice(bytes)).into()
    }

    fn message(&self, json: &str) -> PushStatus {
        self.0.message(RStr::from_str(json)).into()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.ready())
    }
}

/// The runtime of one connection; its threads end with it.
fn own_runtime() -> Result<Arc<Threads>> {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(1)
        .thread_name("agentd-backend")
        .enable_all();
    Threads::start(&mut builder).map(Arc::new).map_err(|error| {
        let mut failed = Error::from(error);
        failed.message = format!("starting the backend's threads: {}", failed.message);
        failed
    })
}

/// Runs an author's code; a panic becomes an error.
fn guard<R>(f: impl FnOnce() -> Result<R>) -> AbiResult<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => RResult::ROk(value),
        Ok(Err(error)) => RResult::RErr(error.into()),
        Err(payload) => RResult::RErr(panicked(payload).into()),
    }
}

/// Makes an author's future and guards it from then on, its drop included.
fn call<R, F>(runtime: Handle, f: impl FnOnce() -> F) -> FfiFuture<AbiResult<R>>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    let made = {
        let _entered = runtime.enter();
        catch_unwind(AssertUnwindSafe(f))
    };
    match made {
        Ok(future) => {
            let guarded = Guarded {
                future: Some(Box::pin(future)),
                runtime,
            };
            FfiFuture::new(async move {
                match guarded.await {
                    Ok(value) => RResult::ROk(value),
                    Err(error) => RResult::RErr(error.into()),
                }
            })
        }
        Err(payload) => {
            let error = panicked(payload).into();
            FfiFuture::new(std::future::ready(RResult::RErr(error)))
        }
    }
}

/// A future polled and dropped with the library's runtime entered and panics caught.
struct Guarded<F> {
    future: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<R, F: Future<Output = Result<R>>> Future for Guarded<F> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        let this = &mut *self;
        let Some(future) = this.future.as_mut() else {
            return Poll::Ready(Err(Error::internal("a finished call was polled again")));
        };
        let polled = {
            let _entered = this.runtime.enter();
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))
        };
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                this.discard();
                Poll::Ready(result)
            }
            Err(payload) => {
                this.discard();
                Poll::Ready(Err(panicked(payload)))
            }
        }
    }
}

impl<F> Guarded<F> {
    fn discard(&mut self) {
        discard(self.future.take(), &self.runtime);
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Drops what is the author's. A panic has no one to go to; the hook has logged it.
fn discard<T>(value: T, runtime: &Handle) {
    let _entered = runtime.enter();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        panicked(payload);
    }
}

fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let message = format!(
        "the backend panicked: {}",
        forward::panic_message(&*payload)
    );
    // The payload's own drop may panic too.
    std::mem::forget(payload);
    Error::new(ErrorKind::Panicked, message)
}

fn to_json<T: Serialize>(value: &T) -> Result<RString> {
    serde_json::to_string(value)
        .map(RString::from)
        .map_err(|error| Error::internal(format!("an answer cannot be written as JSON: {error}")))
}

fn from_json<T: DeserializeOwned>(json: &RString) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| Error::internal(format!("the daemon's request cannot be read: {error}")))
}
