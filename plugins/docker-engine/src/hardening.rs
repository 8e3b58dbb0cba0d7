//! What is the same for every agent.

use std::collections::HashMap;

use bollard::models::ResourcesUlimits;

/// How much worse than others: when the machine runs out of memory, an agent goes before the
/// user's own programs.
pub const OOM_SCORE: i64 = 500;

/// The engine's own time between SIGTERM and SIGKILL, in seconds; for when it stops a container
/// by itself.
pub const STOP_TIMEOUT: i64 = 10;

/// The driver of [`log_options`].
pub const LOG_DRIVER: &str = "json-file";

/// What programs expect to be able to write although the root is read-only.
pub const WRITABLE_PARTS: [&str; 2] = ["/tmp", "/run"];

/// So that a flood does not fill the disk.
pub fn log_options() -> HashMap<String, String> {
    [("max-size", "10m"), ("max-file", "3")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// No core files, which would have an agent's secrets in them.
pub fn ulimits() -> Vec<ResourcesUlimits> {
    vec![ResourcesUlimits {
        name: Some("core".to_owned()),
        soft: Some(0),
        hard: Some(0),
    }]
}
