//! Threads beside those that serve.

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with threads of its own, which may be dropped anywhere, also in a task.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts what `builder` describes.
    pub fn start(builder: &mut Builder) -> io::Result<Self> {
        Ok(Threads(Some(builder.build()?)))
    }

    /// For what may be busy all the time: one thread for two processors, at most `most`, without
    /// timers and sockets. They sleep while there is nothing to do.
    pub fn for_floods(name: &str, most: usize) -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads((processors / 2).clamp(1, most))
            .thread_name(name);
        Threads::start(&mut builder)
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
