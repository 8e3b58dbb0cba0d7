//! Futures that go on where they are woken.
//!
//! A key's echo comes on a thread of the backend, and the viewer's task runs on one of the
//! runtime. To wake that thread takes longer than to send the echo, so the thread that has brought
//! it sends it as well, and the runtime is not asked. Whatever is more than that goes the usual way.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// So many futures are polled by the thread that woke them; the others are left to their tasks.
const MOST: usize = 2;

thread_local! {
    /// What was woken by the work of [`wake_in_place`], while that is under way.
    static WOKEN: RefCell<Option<Vec<Arc<Place>>>> = const { RefCell::new(None) };
    /// Whether this thread polls one of those, and whether it has had its turn.
    static TURN: Cell<Turn> = const { Cell::new(Turn::Task) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A task polls, which may go on as long as the runtime lets it.
    Task,
    /// This one may take a turn.
    First,
    /// It has taken it.
    Taken,
}

/// Does `work`, and then polls on this thread what it has woken of the futures in
/// [`run_in_place`]. Not for work that holds a lock which such a future may take.
pub fn wake_in_place<T>(work: impl FnOnce() -> T) -> T {
    let collecting = Collecting(WOKEN.replace(Some(Vec::new())));
    let result = work();
    for place in collecting.end() {
        place.poll_here();
    }
    result
}

/// Puts back what was there before, also when the work panics.
struct Collecting(Option<Vec<Arc<Place>>>);

impl Collecting {
    fn end(self) -> Vec<Arc<Place>> {
        WOKEN.replace(None).unwrap_or_default()
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let left = WOKEN.replace(self.0.take()).unwrap_or_default();
        for place in left {
            place.task.wake();
        }
    }
}

/// Waits until this thread may do one more piece of the work: a thread that only woke the future
/// does one, and its task the rest.
pub async fn turn() {
    poll_fn(|context| {
        let turn = TURN.get();
        if turn == Turn::Taken {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if turn == Turn::First {
            TURN.set(Turn::Taken);
        }
        Poll::Ready(())
    })
    .await;
}

/// Runs `future` in this task, and on threads that wake it within [`wake_in_place`]. It is dropped
/// with this one.
pub async fn run_in_place<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let (done, mut result) = oneshot::channel();
    let future = async move {
        // Nobody waits for it when the task has ended.
        let _ = done.send(AssertUnwindSafe(future).catch_unwind().await);
    };
    let running = Running(Arc::new(Place {
        future: Mutex::new(Some(Box::pin(future))),
        woken: AtomicBool::new(true),
        task: AtomicWaker::new(),
        runtime: Handle::current(),
    }));
    let finished = poll_fn(|context| {
        running.0.task.register(context.waker());
        running.0.poll();
        result.poll_unpin(context)
    });
    match finished.await {
        Ok(Ok(output)) => output,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(dropped) => resume_unwind(Box::new(dropped) as Box<dyn Any + Send>),
    }
}

/// Drops the future, wherever it is being polled.
struct Running(Arc<Place>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

/// A future that one thread at a time polls.
struct Place {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// Whether it was woken since it was last polled.
    woken: AtomicBool,
    task: AtomicWaker,
    runtime: Handle,
}

impl Place {
    /// Polls if there is reason to. Where another thread does that now, it sees the reason itself.
    fn poll(self: &Arc<Self>) {
        if !self.woken.load(Ordering::SeqCst) {
            return;
        }
        let mut slot = match self.future.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.woken.store(false, Ordering::SeqCst);
        if let Some(future) = &mut *slot {
            let waker = Waker::from(self.clone());
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                *slot = None;
            }
        }
        drop(slot);
        if self.woken.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// The same on a thread that is not the runtime's.
    fn poll_here(self: &Arc<Self>) {
        let _runtime = self.runtime.enter();
        let before = TURN.replace(Turn::First);
        self.poll();
        TURN.set(before);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pin<Box<dyn Future<Output = ()> + Send>>>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let collected = WOKEN.with_borrow_mut(|woken| match woken {
            Some(woken) if woken.len() < MOST => {
                woken.push(self.clone());
                true
            }
            _ => false,
        });
        if !collected {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// What a [`step`] waits for, and which threads have gone on from there.
    #[derive(Clone, Default)]
    struct Steps(Arc<Mutex<(Option<Waker>, Vec<ThreadId>)>>);

    impl Steps {
        /// Waits to be woken once.
        async fn step(&self) {
            let mut asked = false;
            poll_fn(|context| {
                let mut steps = self.0.lock().unwrap();
                if !std::mem::replace(&mut asked, true) {
                    steps.0 = Some(context.waker().clone());
                    return Poll::Pending;
                }
                steps.1.push(thread::current().id());
                Poll::Ready(())
            })
            .await;
        }

        async fn waker(&self) -> Waker {
            loop {
                if let Some(waker) = self.0.lock().unwrap().0.take() {
                    return waker;
                }
                sleep(Duration::from_millis(1)).await;
            }
        }

        fn threads(&self) -> Vec<ThreadId> {
            self.0.lock().unwrap().1.clone()
        }
    }

    /// Wakes on a thread of its own, which is given.
    fn wake_elsewhere(waker: Waker) -> ThreadId {
        let thread = thread::spawn(|| {
            wake_in_place(|| waker.wake());
            thread::current().id()
        });
        thread.join().unwrap()
    }

    async fn ended<T>(task: JoinHandle<T>) -> Result<T, tokio::task::JoinError> {
        timeout(Duration::from_secs(10), task).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_woken_goes_on_in_the_thread_that_woke_it() {
        let steps = Steps::default();
        let future = {
            let steps = steps.clone();
            async move {
                steps.step().await;
                "done"
            }
        };
        let task = tokio::spawn(run_in_place(future));
        let thread = wake_elsewhere(steps.waker().await);
        assert_eq!(steps.threads(), [thread]);
        assert_eq!(ended(task).await.unwrap(), "done");
    }

    #[tokio::test]
    async fn what_is_woken_by_anything_else_goes_on_in_its_task() {
        let steps = Steps::default();
        let future = {
            let steps = steps.clone();
            async move { steps.step().await }
        };
        let task = tokio::spawn(run_in_place(future));
        let waker = steps.waker().await;
        thread::spawn(|| waker.wake()).join().unwrap();
        ended(task).await.unwrap();
        assert_eq!(steps.threads(), [thread::current().id()]);
    }

    #[tokio::test]
    async fn the_thread_that_woke_it_has_one_turn() {
        let turns = Arc::new(Mutex::new(Vec::new()));
        let steps = Steps::default();
        let future = {
            let (turns, steps) = (turns.clone(), steps.clone());
            async move {
                steps.step().await;
                for _ in 0..3 {
                    turn().await;
                    turns.lock().unwrap().push(thread::current().id());
                }
            }
        };
        let task = tokio::spawn(run_in_place(future));
        let thread = wake_elsewhere(steps.waker().await);
        ended(task).await.unwrap();
        let here = thread::current().id();
        assert_eq!(*turns.lock().unwrap(), [thread, here, here]);
    }

    #[tokio::test]
    async fn a_panic_ends_the_task_and_not_the_thread_that_woke_it() {
        let steps = Steps::default();
        let future = {
            let steps = steps.clone();
            async move {
                steps.step().await;
                panic!("as intended");
            }
        };
        let task = tokio::spawn(run_in_place(future));
        wake_elsewhere(steps.waker().await);
        assert!(ended(task).await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn what_is_given_up_is_dropped_at_once() {
        let steps = Steps::default();
        let held = Arc::new(());
        let future = {
            let (steps, held) = (steps.clone(), held.clone());
            async move {
                steps.step().await;
                drop(held);
            }
        };
        let task = tokio::spawn(run_in_place(future));
        let waker = steps.waker().await;
        task.abort();
        assert!(ended(task).await.unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 1);
        wake_elsewhere(waker);
        assert_eq!(steps.threads(), []);
    }
}
