use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// No more than this, however many processors there are.
const MOST: usize = 4;

/// The threads that read on for the screens. Programs that flood keep them busy, so they are not
/// those that serve clients, and half of the processors are left free: what is busy all the time
/// waits for its next share of a processor, and so would every key and every request.
#[derive(Debug)]
pub struct ScreenThreads(Option<Runtime>);

impl ScreenThreads {
    /// Starts them. They sleep while no program writes.
    pub fn start() -> io::Result<Self> {
        let threads = (available_parallelism().map_or(1, NonZero::get) / 2).clamp(1, MOST);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("agentd-screen")
            .build()?;
        Ok(ScreenThreads(Some(runtime)))
    }

    /// Runs a task there.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The runtime is only taken out by `drop`.
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }
}

impl Drop for ScreenThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last owner may be a task of another runtime, which must not wait.
            runtime.shutdown_background();
        }
    }
}
