//! Backend libraries: found, checked, loaded, and never unloaded.
//!
//! [`load`] goes through the stages of [`Stage`] in their order; [`check`] does the same with a
//! file and reports how far it came. A library is code of the daemon's own process: everything up
//! to [`Stage::Open`] looks at the file from outside, from there on its code runs.
//!
//! The only module that names `libloading`.

mod checksum;
pub(crate) mod elf;
mod error;
mod library;
pub(crate) mod manifest;
mod name;
mod search;
mod stage;
pub(crate) mod trial;
mod trust;

/// The version of the interface that a backend of today is written for.
pub use agentd_plugin_api::API_VERSION;
pub use error::LoadError;
pub use library::Library;
pub use name::{BUNDLED, BackendName, NAME_RULE};
pub use search::{Found, SearchPath};
pub use stage::{Stage, Step, check, inspect, load, load_file};
pub use trust::{Distrust, Trust};
