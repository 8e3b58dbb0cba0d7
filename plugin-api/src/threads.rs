//! Threads beside those that serve.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with threads of its own, which may be dropped anywhere, also in a task.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts what `builder` describes.
    pub fn start(builder: &mut Builder) -> io::Result<Self> {
        Ok(Threads(Some(builder.build()?)))
    }

    /// For tasks that shall run there.
    pub fn handle(&self) -> &Handle {
        // The runtime is only taken out by `drop`.
        self.0
            .as_ref()
            .map(Runtime::handle)
            .unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last owner may be one of the runtime's own threads, which must not wait.
            runtime.shutdown_background();
        }
    }
}
