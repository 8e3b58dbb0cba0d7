use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use agentd_plugin_api::threads::Threads;
use tokio::runtime::Builder;

/// No more than this, however many processors there are.
const MOST: usize = 4;

/// The threads that read on for the screens, one for two processors. Programs that flood keep them
/// busy, so they are not those that serve clients: what is busy all the time waits for its next
/// share of a processor, and so would every key and every request.
#[derive(Debug)]
pub struct ScreenThreads(Threads);

impl ScreenThreads {
    /// Starts them. They sleep while no program writes.
    pub fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads((processors / 2).clamp(1, MOST))
            .thread_name("agentd-screen");
        Threads::start(&mut builder).map(ScreenThreads)
    }

    /// Runs a task there.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.handle().spawn(task);
    }
}
