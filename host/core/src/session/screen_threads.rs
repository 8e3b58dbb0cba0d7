use std::io;

use agentd_plugin_api::threads::Threads;

/// No more than this, however many processors there are.
const MOST: usize = 4;

/// The threads that read on for the screens, one for two processors. Programs that flood keep them
/// busy, so they are not those that serve clients: what is busy all the time waits for its next
/// share of a processor, and so would every key and every request.
#[derive(Debug)]
pub struct ScreenThreads(Threads);

impl ScreenThreads {
    /// Starts them.
    pub fn start() -> io::Result<Self> {
        Threads::for_floods("agentd-screen", MOST).map(ScreenThreads)
    }

    /// Runs a task there.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.handle().spawn(task);
    }
}
