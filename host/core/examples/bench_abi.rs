//! Measures what the library boundary costs: the same calls to the echo backend as a `dyn` trait
//! object of this program, and across the real library. Called by `cargo xtask bench abi`:
//!
//! ```text
//! cargo run --release --example bench_abi -p agentd-host -- target/release/libagentd_backend_echo.so
//! ```
//!
//! Ends with exit code 1 when a ratio is above its target.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentd_host::loader::{BackendName, SearchPath, Trust, load};
use agentd_plugin_api::abi::host::{RemoteSession, SyncProbe};
use agentd_plugin_api::host::HostServices;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Config, PushStatus, SessionEvents, SessionSpec, Size};
