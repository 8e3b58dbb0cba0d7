//! What the backends that run agents in containers of a Docker engine share.
//!
//! - [`engine`]: the connection · [`container`]: what it does to one · [`limits`]: what an option may say
//! - [`mounts`]: which directories an agent may see · [`environment`]: its variables
//! - [`labels`]: by which it is found again · [`hardening`]: what is the same for every agent
//! - [`agent`]: what is known of it, and its end · [`lines`]: its log

pub mod agent;
pub mod container;
pub mod engine;
pub mod environment;
pub mod hardening;
pub mod labels;
pub mod limits;
pub mod lines;
pub mod mounts;
