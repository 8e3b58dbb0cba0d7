//! The host: loads a backend, keeps its sessions, and answers for both services. Knows no backend
//! by name. See `ARCHITECTURE.md` one folder up.

pub mod doors;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
pub mod http;
pub mod loader;
pub mod service;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;

mod access;
mod activation;
mod audit;
mod backend;
mod backend_session;
mod backends;
mod children;
mod clock;
mod collection;
mod config;
mod connector;
mod core_files;
mod daemon;
mod descriptors;
mod error;
mod idempotency_key;
mod in_place;
mod instance;
mod keyed;
mod limits;
mod listen;
mod listener;
mod memory;
mod others;
mod prepared;
mod private_paths;
mod process_end;
mod runtime_dir;
mod server;
mod service_manager;
mod services;
mod signals;
mod socket_file;
mod sockets;
mod start_call;
mod start_error;
mod state_dir;
mod state_file;
pub mod telemetry;
mod terminals;
mod text;
mod tls;
mod turns;
mod wanted_backend;

pub use activation::Activation;
pub use agentd_keeper::{entered, remove_unfinished};
pub use audit::{AuditRecord, AuditTrail, Noted};
pub use backend::{Backend, Phase};
pub use backends::Backends;
pub use clock::{from_rfc3339, now, to_rfc3339};
pub use collection::{AgentCounts, Collection};
pub use config::{Auth, Config, KeeperSetting, PluginTrust, SocketAuth, StoreEnv, WebhookOutput};
pub use daemon::{Daemon, Service};
pub use error::{Error, ErrorKind, Result};
pub use idempotency_key::IdempotencyKey;
pub use keyed::KeyedRequest;
pub use listen::Listen;
pub use prepared::Prepared;
pub use server::Server;
pub use services::Services;
pub use start_error::{ExitCode, StartError};
pub use turns::Turns;
pub use wanted_backend::WantedBackend;
