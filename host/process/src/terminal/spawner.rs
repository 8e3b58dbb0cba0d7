//! Threads that start programs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Result;

/// So many programs at most are started at once. A start takes a millisecond or two, and on a file
/// system that does not answer for ever.
const MOST: usize = 64;

/// Starts programs in threads that live as long as this: a program may ask the kernel to be killed
/// when its parent dies, and the parent is the thread (`PR_SET_PDEATHSIG` in prctl(2)).
#[derive(Default)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Spawner {
    /// Runs `job` in one of the threads.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<()> {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if queue.jobs.len() > queue.idle && queue.threads < MOST {
            let shared = self.shared.clone();
            let builder = thread::Builder::new().name("agentd-spawn".to_owned());
            match builder.spawn(move || shared.work()) {
                Ok(_) => {
                    queue.threads += 1;
                    queue.idle += 1;
                }
                Err(error) if queue.threads == 0 => {
                    queue.jobs.pop_back();
                    return Err(error.into());
                }
                // One of the others does it.
                Err(_) => {}
            }
        }
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.idle -= 1;
                drop(queue);
                // Whoever waits for its answer notices that it never comes.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.lock();
                queue.idle += 1;
            } else if queue.closed {
                return;
            } else {
                queue = self
                    .arrived
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
