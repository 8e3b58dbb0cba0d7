use std::cell::Cell;
use std::fs;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A future that measures for how long its polls keep their thread.
///
/// Not the time that passes: on a busy machine a thread waits for a processor at any point, and
/// that is subtracted. What is left is time in which the thread computed or was blocked.
pub(crate) struct Watched<'a, F> {
    future: Pin<Box<F>>,
    longest: &'a Cell<Duration>,
}

impl<'a, F> Watched<'a, F> {
    /// The longest poll is kept in `longest`.
    pub(crate) fn new(future: F, longest: &'a Cell<Duration>) -> Self {
        Watched {
            future: Box::pin(future),
            longest,
        }
    }
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (begin, before) = (Instant::now(), waited());
        let polled = self.future.as_mut().poll(context);
        let kept = begin
            .elapsed()
            .saturating_sub(waited().saturating_sub(before));
        self.longest.set(self.longest.get().max(kept));
        polled
    }
}

/// How long this thread has waited for a processor: field 2 of `schedstat`, in nanoseconds
/// (Documentation/scheduler/sched-stats.rst). Zero where the kernel does not count it.
fn waited() -> Duration {
    let read = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = read.and_then(|text| text.split(' ').nth(1)?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
