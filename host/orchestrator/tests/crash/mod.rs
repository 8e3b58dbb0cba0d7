//! Services that are killed, on each backend: what was answered is there afterwards, and nothing
//! is without an owner.

mod load;
mod start;
pub mod world;

use agentd_host::testing::{TestBackend, leave_out};

use crate::program::program;
use world::World;

/// The world of a backend; none, with the reason printed, where its tool is missing.
fn world(backend: Result<TestBackend, String>) -> Option<World> {
    match backend {
        Ok(backend) => Some(World::new(backend, program)),
        Err(missing) => {
            leave_out(&missing);
            None
        }
    }
}
