//! The daemon's side: a library's exports as ordinary Rust types.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::abi_stability::stable_abi_trait::get_type_layout;
use abi_stable::library::{AbiHeader, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL};
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString};
use async_ffi::FfiFuture;

use super::calls::{Calls, Started};
use super::connection::{Connection, Lent, Reporting, TerminalSlot};
use super::interface::*;
use super::plugin::erase_here;
use crate::host::HostServices;
use crate::sink::Receiver;
use crate::{
    API_VERSION, Config, Error, Found, LogQuery, Manifest, PushStatus, Result, SessionSpec, Size,
};

/// The symbol that every backend exports, with its final NUL. Its value is a
/// [`Header`](super::Header).
pub fn root_symbol() -> &'static [u8] {
    ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()
}

/// Why a library that could be opened is not a usable backend.
#[derive(Debug)]
pub enum HeaderError {
    /// Made with another abi_stable, or the root symbol points to something else.
    Framework(String),
    /// The C calling convention of its compiler differs.
    Compiler,
    /// Another major version of this API.
    ApiVersion {
        /// What the library was made for.
        library: String,
    },
    /// The same version, but types differ. `detail` is long.
    Layout {
        /// The first difference in one line.
        summary: String,
        /// Everything abi_stable says about it.
        detail: String,
    },
    /// It panicked while it initialised itself.
    Panicked,
}

/// The exports of a checked library.
#[derive(Clone, Copy)]
pub struct Module {
    exports: BackendModule_Ref,
    version: &'static str,
}

impl Module {
    /// Checks the version, then the layout of all types that cross, and initialises the library.
    ///
    /// abi_stable's own check refuses every library that is older than the host, since it has
    /// fewer fields. All our types only grow at their ends and absent fields are found at run
    /// time, so the check passes when either side is a prefix of the other.
    ///
    /// # Safety
    ///
    /// `header` comes from the root symbol of a library that stays loaded for ever.
    pub unsafe fn from_header(header: super::Header) -> Result<Module, HeaderError> {
        let library = header.upgrade().map_err(|error| match error {
            LibraryError::InvalidCAbi { .. } => HeaderError::Compiler,
            LibraryError::InvalidAbiHeader(found) => HeaderError::Framework(framework(&found)),
            other => HeaderError::Framework(first_line(&other.to_string())),
        })?;
        let version = library.version_strings().version.as_str();
        if major(version) != major(API_VERSION) {
            return Err(HeaderError::ApiVersion {
                library: version.to_owned(),
            });
        }
        let Some(theirs) = library.layout() else {
            let summary = "its layout check is switched off".to_owned();
            return Err(HeaderError::Layout {
                detail: summary.clone(),
                summary,
            });
        };
        let ours = get_type_layout::<BackendModule_Ref>();
        if let Err(difference) = check_layout_compatibility(ours, theirs)
            && check_layout_compatibility(theirs, ours).is_err()
        {
            let detail = difference.to_string();
            return Err(HeaderError::Layout {
                summary: summary(&detail),
                detail,
            });
        }
        // SAFETY: the layouts were just found to be compatible.
        let module = unsafe { library.init_root_module_with_unchecked_layout() };
        match module {
            Ok(exports) => Ok(Module { exports, version }),
            Err(_) => Err(HeaderError::Panicked),
        }
    }

    /// The version of this API that the library was made with.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Asks the library what it is.
    pub fn manifest(&self) -> Result<Manifest> {
        let json = self.exports.manifest()().into_result()?;
        from_json(&json)
    }

    /// Connects the backend. The library's threads live as long as what this returns.
    pub async fn connect(
        &self,
        services: Arc<dyn HostServices>,
        config: &Config,
    ) -> Result<RemoteBackend> {
        let connection = Arc::new(Connection::new(services, &config.instance));
        let host = AbiHost_TO::from_value(LocalHost(connection.clone()), TD_Opaque);
        let backend = self.exports.connect()(host, to_json(config)?)
            .await
            .into_result()?;
        Ok(RemoteBackend {
            backend,
            connection,
            calls: Arc::new(Calls::Here),
        })
    }
}

/// A connected backend. Dropping a call's future cancels the call inside the library.
pub struct RemoteBackend {
    backend: BackendBox,
    connection: Arc<Connection>,
    calls: Arc<Calls>,
}

impl RemoteBackend {
    /// One that is part of this program and not of a library, for tests of the host: what it logs and its
    /// panics are the program's own.
    pub fn here<B: crate::Backend>(backend: B, services: Arc<dyn HostServices>) -> Result<Self> {
        Ok(RemoteBackend {
            backend: erase_here(backend)?,
            connection: Arc::new(Connection::new(services, "")),
            calls: Arc::new(Calls::Here),
        })
    }

    /// From here on calls run on threads of their own, so that a library that blocks them holds up no other
    /// task of the daemon. Called on the daemon's runtime.
    pub fn aside(mut self) -> Result<Self> {
        self.calls = Arc::new(Calls::aside()?);
        Ok(self)
    }

    /// See [`Backend::start`](crate::Backend::start).
    ///
    /// With a receiver of a known type, output takes one indirect call less.
    pub async fn start<R: Receiver + ?Sized + 'static>(
        &self,
        spec: &SessionSpec,
        events: Arc<R>,
    ) -> Result<RemoteSession> {
        let json = to_json(spec)?;
        let (reports, terminal) = self.connection.reports(&spec.id, &spec.label, events);
        let started = self.calls.start(self.backend.start(json, reports)).await?;
        self.remote_session(started, terminal)
    }

    /// See [`Backend::list`](crate::Backend::list).
    pub async fn list(&self) -> Result<Vec<Found>> {
        let json = self.calls.call(self.backend.list()).await?.into_result()?;
        from_json(&json)
    }

    /// See [`Backend::adopt`](crate::Backend::adopt).
    pub async fn adopt<R: Receiver + ?Sized + 'static>(
        &self,
        id: &str,
        events: Arc<R>,
    ) -> Result<RemoteSession> {
        let (reports, terminal) = self.connection.reports(id, "", events);
        let adopt = self.backend.adopt(id.into(), reports);
        let adopted = self.calls.adopt(adopt).await?;
        self.remote_session(adopted, terminal)
    }

    /// Takes over a session on a terminal of the daemon, of which the library need not know.
    pub async fn resume<R: Receiver + ?Sized + 'static>(
        &self,
        id: &str,
        events: Arc<R>,
    ) -> Result<RemoteSession> {
        let (_reports, terminal) = self.connection.reports(id, "", events);
        let lent = self.connection.resume(id).await?;
        Ok(RemoteSession {
            session: AbiSession_TO::from_value(lent, TD_Opaque),
            terminal,
            calls: self.calls.clone(),
            attach_command: None,
        })
    }

    fn remote_session(&self, started: Started, terminal: TerminalSlot) -> Result<RemoteSession> {
        Ok(RemoteSession {
            session: started.session.into_result()?,
            terminal,
            calls: self.calls.clone(),
            attach_command: started.attach_command.map(attach_command),
        })
    }
}

/// A session inside a library.
pub struct RemoteSession {
    session: SessionBox,
    terminal: TerminalSlot,
    calls: Arc<Calls>,
    /// As it answered right after its start, if it was asked then.
    attach_command: Option<Result<Option<Vec<String>>>>,
}

impl RemoteSession {
    /// See [`Session::write`](crate::Session::write).
    pub async fn write(&self, input: &[u8]) -> Result<()> {
        match self.terminal.get() {
            Some(terminal) => terminal.write(input.to_vec()).await,
            None => self.answer(self.session.write(input.into())).await,
        }
    }

    /// See [`Session::prompt`](crate::Session::prompt).
    pub async fn prompt(&self, text: &str, submit: bool) -> Result<()> {
        self.answer(self.session.prompt(text.into(), submit)).await
    }

    /// See [`Session::resize`](crate::Session::resize).
    pub async fn resize(&self, size: Size) -> Result<()> {
        let Some(terminal) = self.terminal.get() else {
            return self.answer(self.session.resize(size.cols, size.rows)).await;
        };
        terminal.resize(size).await
    }

    /// See [`Session::logs`](crate::Session::logs).
    pub async fn logs<R: Receiver + ?Sized + 'static>(
        &self,
        query: &LogQuery,
        sink: Arc<R>,
    ) -> Result<()> {
        let query = to_json(query)?;
        self.answer(self.session.logs(query, receiver(sink))).await
    }

    /// See [`Session::attach_command`](crate::Session::attach_command).
    pub fn attach_command(&self) -> Result<Option<Vec<String>>> {
        match &self.attach_command {
            Some(answered) => answered.clone(),
            None => attach_command(self.session.attach_command()),
        }
    }

    /// See [`Session::terminate`](crate::Session::terminate).
    pub async fn terminate(&self, grace: Duration) -> Result<()> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.answer(self.session.terminate(grace)).await
    }

    async fn answer(&self, call: FfiFuture<RResult<(), AbiError>>) -> Result<()> {
        Ok(self.calls.call(call).await?.into_result()?)
    }
}

impl Connection {
    /// What a library reports with on the session `id`, and where its terminal will be.
    fn reports<R: Receiver + ?Sized + 'static>(
        self: &Arc<Self>,
        id: &str,
        label: &str,
        receiver: Arc<R>,
    ) -> (ReceiverBox, TerminalSlot) {
        let reporting = self.open(id, label, receiver.clone());
        let terminal = reporting.terminal();
        let reporting = Some(reporting);
        let reports = AbiReceiver_TO::from_value(
            LocalReceiver {
                receiver,
                reporting,
            },
            TD_Opaque,
        );
        (reports, terminal)
    }
}

fn attach_command(json: RResult<RString, AbiError>) -> Result<Option<Vec<String>>> {
    from_json(&json.into_result()?)
}

fn receiver<R: Receiver + ?Sized + 'static>(receiver: Arc<R>) -> ReceiverBox {
    let reporting = None;
    AbiReceiver_TO::from_value(
        LocalReceiver {
            receiver,
            reporting,
        },
        TD_Opaque,
    )
}

struct LocalHost(Arc<Connection>);

// A panic that leaves one of these methods would end the daemon.
impl AbiHost for LocalHost {
    fn enabled(&self, level: u8, target: RStr<'_>) -> bool {
        caught(false, || self.0.services.enabled(level, target.as_str()))
    }

    fn log(&self, level: u8, target: RStr<'_>, message: RStr<'_>) {
        caught((), || {
            self.0
                .services
                .log(level, target.as_str(), message.as_str())
        });
    }

    fn hold_reaping(&self) {
        caught((), || self.0.services.hold_reaping());
    }

    fn release_reaping(&self, owned: ROption<u32>) {
        caught((), || self.0.services.release_reaping(owned.into_option()));
    }

    fn api_version(&self) -> RString {
        caught(RString::new(), || self.0.services.api_version().into())
    }

    fn run_on_terminal(&self, program: RString) -> FfiFuture<RResult<SessionBox, AbiError>> {
        let connection = self.0.clone();
        lend(async move { connection.run(from_json(&program)?).await })
    }

    fn resume_on_terminal(&self, session: RString) -> FfiFuture<RResult<SessionBox, AbiError>> {
        let connection = self.0.clone();
        lend(async move { connection.resume(&session).await })
    }
}

fn lend(
    call: impl Future<Output = Result<Lent>> + Send + 'static,
) -> FfiFuture<RResult<SessionBox, AbiError>> {
    FfiFuture::new(async move {
        match call.await {
            Ok(lent) => RResult::ROk(AbiSession_TO::from_value(lent, TD_Opaque)),
            Err(error) => RResult::RErr(error.into()),
        }
    })
}

struct LocalReceiver<R: ?Sized> {
    receiver: Arc<R>,
    /// Where the library reports on a session.
    #[expect(dead_code, reason = "held as long as the library has this")]
    reporting: Option<Arc<Reporting>>,
}

const CLOSED: PushStatus = PushStatus {
    credit: 0,
    closed: true,
};

impl<R: Receiver + ?Sized + 'static> AbiReceiver for LocalReceiver<R> {
    fn push(&self, bytes: RSlice<'_, u8>) -> AbiPushStatus {
        caught(CLOSED, || self.receiver.push(bytes.as_slice())).into()
    }

    fn message(&self, json: RStr<'_>) -> AbiPushStatus {
        caught(CLOSED, || self.receiver.message(json.as_str())).into()
    }

    fn ready(&self) -> FfiFuture<()> {
        let future: Pin<Box<dyn Future<Output = ()> + Send>> =
            caught(Box::pin(std::future::ready(())), || self.receiver.ready());
        FfiFuture::new(future)
    }
}

#[inline]
fn caught<R>(otherwise: R, f: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        report_panic();
        otherwise
    })
}

#[cold]
fn report_panic() {
    tracing::error!("the daemon panicked while a backend called it");
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

fn framework(found: &AbiHeader) -> String {
    if found.magic_string == AbiHeader::VALUE.magic_string {
        format!("abi_stable {}.{}", found.abi_major, found.abi_minor)
    } else {
        "its root symbol is something else".to_owned()
    }
}

fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// The first difference that abi_stable names. Its text has one block for each: `Error:…`,
/// `Expected:` and `Found:`, the latter two followed by a field, one property per line.
fn summary(detail: &str) -> String {
    let mut lines = detail
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .skip_while(|line| !line.starts_with("Error:"));
    let what = lines.next().and_then(|line| line.strip_prefix("Error:"));
    // Of a field the name and the type.
    let mut properties = |end: &str| {
        let of_this = lines.by_ref().take_while(|line| !line.starts_with(end));
        let all: Vec<&str> = of_this.filter(|line| !line.ends_with(':')).collect();
        all.into_iter().take(2).collect::<Vec<_>>().join(" ")
    };
    let (expected, found) = (properties("Found:"), properties("Error:"));
    match what {
        Some(what) => format!("{what}, expected {expected}, found {found}"),
        None => first_line(detail),
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<RString> {
    serde_json::to_string(value)
        .map(RString::from)
        .map_err(|error| Error::internal(format!("a request cannot be written as JSON: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(json: &RString) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| Error::internal(format!("the backend's answer cannot be read: {error}")))
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBackend").finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSession").finish_non_exhaustive()
    }
}
