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

    /// Does there what may have to wait for a screen or take long. A panic goes on in the caller.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.run_task(async move { work() }).await
    }

    /// The same for what may also wait for others.
    pub async fn run_task<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.0.handle().spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The threads have ended, and so does the service.
            Err(_) => std::future::pending().await,
        }
    }

    /// Runs a task there.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.handle().spawn(task);
    }
}
