//! The types that cross. Frozen at 1.0: a struct that is not a prefix type never changes,
//! a prefix type or trait only grows at its end, `last_prefix_field` never moves, and an added
//! trait method has a default body.

use abi_stable::StableAbi;
use abi_stable::library::{AbiHeaderRef, RootModule};
use abi_stable::package_version_strings;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr, RString, RVec};
use async_ffi::FfiFuture;

/// What the root symbol of a library points to.
pub type HostModule = AbiHeaderRef;

/// What a library exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BackendModule_Ref, prefix_fields = BackendModule_Prefix)))]
#[sabi(missing_field(option))]
pub struct BackendModule {
    /// [`Manifest`](crate::Manifest) as JSON.
    pub manifest: extern "C" fn() -> RResult<RString, AbiError>,
    /// Takes a [`Config`](crate::Config) as JSON.
    #[sabi(last_prefix_field)]
    pub connect: extern "C" fn(HostBox, RString) -> FfiFuture<RResult<BackendBox, AbiError>>,
    // New fields go here, at the end; the host sees them as options.
}

impl RootModule for BackendModule_Ref {
    abi_stable::declare_root_module_statics! {BackendModule_Ref}
    const BASE_NAME: &'static str = "agentd_backend";
    const NAME: &'static str = "agentd_backend";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// [`Error`](crate::Error), with the kind as its JSON word.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiError {
    pub kind: RString,
    pub message: RString,
    pub hint: ROption<RString>,
}

/// [`PushStatus`](crate::PushStatus).
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AbiPushStatus {
    pub credit: u64,
    pub closed: bool,
}

pub type HostBox = AbiHost_TO<RBox<()>>;
pub type ReceiverBox = AbiReceiver_TO<RBox<()>>;
pub type BackendBox = AbiBackend_TO<RBox<()>>;
pub type SessionBox = AbiSession_TO<RBox<()>>;

/// [`HostServices`](crate::host::HostServices), implemented by the daemon.
#[sabi_trait]
pub trait AbiHost: Send + Sync + 'static {
    fn enabled(&self, level: u8, target: RStr<'_>) -> bool;
    fn log(&self, level: u8, target: RStr<'_>, message: RStr<'_>);
    fn hold_reaping(&self);
    #[sabi(last_prefix_field)]
    fn release_reaping(&self, owned: ROption<u32>);
    // Since 1.1. What a daemon of 1.0 has not got is answered here, in the library.
    fn api_version(&self) -> RString {
        "1.0.0".into()
    }
    /// Takes a [`Program`](crate::Program) as JSON.
    fn run_on_terminal(&self, program: RString) -> FfiFuture<RResult<SessionBox, AbiError>> {
        drop(program);
        let error = crate::Error::unsupported("terminals of the daemon");
        FfiFuture::new(std::future::ready(RResult::RErr(error.into())))
    }
    fn resume_on_terminal(&self, session: RString) -> FfiFuture<RResult<SessionBox, AbiError>> {
        drop(session);
        let error = crate::Error::unsupported("terminals of the daemon");
        FfiFuture::new(std::future::ready(RResult::RErr(error.into())))
    }
}

/// [`Receiver`](crate::sink::Receiver), implemented by the daemon.
#[sabi_trait]
pub trait AbiReceiver: Send + Sync + 'static {
    fn push(&self, bytes: RSlice<'_, u8>) -> AbiPushStatus;
    fn message(&self, json: RStr<'_>) -> AbiPushStatus;
    #[sabi(last_prefix_field)]
    fn ready(&self) -> FfiFuture<()>;
}

/// [`Backend`](crate::Backend), implemented by the library.
#[sabi_trait]
pub trait AbiBackend: Send + Sync + 'static {
    fn start(&self, spec: RString, events: ReceiverBox)
    -> FfiFuture<RResult<SessionBox, AbiError>>;
    fn list(&self) -> FfiFuture<RResult<RString, AbiError>>;
    #[sabi(last_prefix_field)]
    fn adopt(&self, id: RString, events: ReceiverBox) -> FfiFuture<RResult<SessionBox, AbiError>>;
}

/// [`Session`](crate::Session), implemented by the library.
#[sabi_trait]
pub trait AbiSession: Send + Sync + 'static {
    fn write(&self, input: RVec<u8>) -> FfiFuture<RResult<(), AbiError>>;
    fn prompt(&self, text: RString, submit: bool) -> FfiFuture<RResult<(), AbiError>>;
    fn resize(&self, cols: u16, rows: u16) -> FfiFuture<RResult<(), AbiError>>;
    fn logs(&self, query: RString, sink: ReceiverBox) -> FfiFuture<RResult<(), AbiError>>;
    /// A JSON array of strings, or `null`.
    fn attach_command(&self) -> RResult<RString, AbiError>;
    #[sabi(last_prefix_field)]
    fn terminate(&self, grace_ms: u64) -> FfiFuture<RResult<(), AbiError>>;
}

impl From<crate::Error> for AbiError {
    fn from(error: crate::Error) -> Self {
        let kind = serde_json::to_string(&error.kind).unwrap_or_default();
        AbiError {
            kind: kind.into(),
            message: error.message.into(),
            hint: error.hint.map(RString::from).into(),
        }
    }
}

impl From<AbiError> for crate::Error {
    fn from(error: AbiError) -> Self {
        crate::Error {
            kind: serde_json::from_str(&error.kind).unwrap_or(crate::ErrorKind::Internal),
            message: error.message.into_string(),
            hint: error.hint.into_option().map(RString::into_string),
        }
    }
}

impl From<crate::PushStatus> for AbiPushStatus {
    #[inline]
    fn from(status: crate::PushStatus) -> Self {
        AbiPushStatus {
            credit: status.credit,
            closed: status.closed,
        }
    }
}

impl From<AbiPushStatus> for crate::PushStatus {
    #[inline]
    fn from(status: AbiPushStatus) -> Self {
        crate::PushStatus {
            credit: status.credit,
            closed: status.closed,
        }
    }
}
