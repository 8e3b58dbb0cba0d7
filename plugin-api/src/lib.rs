//! What an author of an agentd execution backend uses.
//!
//! A backend is an ordinary async trait and one macro; everything that crosses the library
//! boundary is generated here. The smallest legal backend, whose agents end at once:
//!
//! ```
//! use agentd_plugin_api::prelude::*;
//!
//! struct Null;
//! struct NullSession;
//!
//! impl Backend for Null {
//!     type Session = NullSession;
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new("null", "0.1.0")
//!     }
//!
//!     async fn connect(_host: Host, _config: Config) -> Result<Self> {
//!         Ok(Null)
//!     }
//!
//!     async fn start(&self, _spec: SessionSpec, events: SessionEvents) -> Result<NullSession> {
//!         events.exited(ExitStatus::code(0));
//!         Ok(NullSession)
//!     }
//! }
//!
//! impl Session for NullSession {
//!     async fn terminate(&self, _grace: Duration) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! export_backend!(Null);
//! # fn main() {}
//! ```
//!
//! Built as a `cdylib` named `agentd_backend_null` and put into a plugin directory, it is chosen
//! with `AGENTD_BACKEND=null`. The guide is this crate's `README.md`.

#[cfg(panic = "abort")]
compile_error!("a backend must be built with panic = \"unwind\": a panic is turned into an error");

pub mod abi;
pub mod host;
pub mod options;
pub mod sink;
pub mod testing;

mod backend;
mod event;
mod forward;
mod limit_options;
mod manifest;
mod spec;
mod terminal;

pub use agentd_process::{Error, ErrorKind, Limits, Result, SHORTAGE_HINT, is_shortage};
pub use agentd_process::{descriptor, environment, process_tree, program, threads};
pub use backend::{Backend, Session};
pub use event::{Event, ExitStatus, Health, LogLine, LogQuery, LogStream, Screen};
pub use host::{Host, Spawning};
pub use limit_options::LimitOptions;
pub use manifest::{Capability, Manifest};
pub use sink::{LogSink, PushStatus, SessionEvents};
pub use spec::{Config, Found, SessionSpec, Size};
pub use terminal::{Program, Terminal};

/// Everything that a backend's source file needs.
pub mod prelude {
    pub use crate::{
        Backend, Capability, Config, Error, ErrorKind, Event, ExitStatus, Found, Health, Host,
        LimitOptions, Limits, LogLine, LogQuery, LogSink, LogStream, Manifest, Program, Result,
        Screen, Session, SessionEvents, SessionSpec, Size, Terminal, export_backend,
    };
    pub use std::time::Duration;
}

pub use {serde_json, tokio, tracing};

/// The version of this API. The host loads a library whose major number is the same.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
