//! Noticing that a program has written to its terminal or read from it.
//!
//! The kernel says so (inotify(7)), so that nothing is asked of tmux, and started, while a pane is
//! quiet. tmux itself would say so through `pipe-pane`, of which a pane has one, the user's, or to
//! a client in control mode, and the description of the crate says why there is none.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agentd_plugin_api::{descriptor, tracing};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// One inotify instance for all terminals, which a user may have only a few of. There is one while
/// anything is watched.
#[derive(Clone, Debug, Default)]
pub struct Terminals(Arc<Mutex<Weak<Inotify>>>);

/// Waits for the next thing that happens at a terminal. Dropped, nothing is watched any more.
#[derive(Debug)]
pub struct Watch {
    inotify: Arc<Inotify>,
    number: i32,
    happened: Arc<Notify>,
}

#[derive(Debug)]
struct Inotify {
    descriptor: Arc<AsyncFd<OwnedFd>>,
    watched: Arc<Mutex<Watched>>,
    reader: JoinHandle<()>,
}

/// By the number of a watch: how many hold it, and who waits.
type Watched = HashMap<i32, (usize, Arc<Notify>)>;

impl Terminals {
    /// Watches a terminal from now on; none if there is no such terminal any more.
    pub fn watch(&self, terminal: &Path) -> io::Result<Option<Watch>> {
        let mut current = lock(&self.0);
        let inotify = match current.upgrade() {
            Some(inotify) => inotify,
            None => {
                let new = Arc::new(Inotify::start()?);
                *current = Arc::downgrade(&new);
                new
            }
        };
        drop(current);
        let added = inotify.add(terminal);
        match added {
            Ok((number, happened)) => Ok(Some(Watch {
                inotify,
                number,
                happened,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Watch {
    /// Done once something has happened since this watch was made.
    pub async fn happened(&self) {
        self.happened.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inotify.remove(self.number);
    }
}

impl Inotify {
    fn start() -> io::Result<Self> {
        let created = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let descriptor = Arc::new(descriptor::watch(created, Interest::READABLE)?);
        let watched = Arc::default();
        let reader = tokio::spawn(read(descriptor.clone(), Arc::clone(&watched)));
        Ok(Inotify {
            descriptor,
            watched,
            reader,
        })
    }

    /// Only the next thing that happens is noted: what a flood writes costs nothing.
    fn add(&self, terminal: &Path) -> Result<(i32, Arc<Notify>), Errno> {
        let what = WatchFlags::MODIFY | WatchFlags::ACCESS | WatchFlags::ONESHOT;
        // Held, so that no number is looked for before it is known.
        let mut watched = lock(&self.watched);
        let number = inotify::add_watch(self.descriptor.get_ref(), terminal, what)?;
        let (holders, happened) = watched.entry(number).or_default();
        *holders += 1;
        Ok((number, happened.clone()))
    }

    fn remove(&self, number: i32) {
        let mut watched = lock(&self.watched);
        let Some((holders, _)) = watched.get_mut(&number) else {
            return;
        };
        *holders -= 1;
        if *holders == 0 {
            watched.remove(&number);
            // Gone already when something has happened, or with the terminal.
            let _ = inotify::remove_watch(self.descriptor.get_ref(), number);
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(descriptor: Arc<AsyncFd<OwnedFd>>, watched: Arc<Mutex<Watched>>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let Ok(mut ready) = descriptor.readable().await else {
            return;
        };
        let mut events = inotify::Reader::new(descriptor.get_ref(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) => notify(&lock(&watched), event.wd(), event.events()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::error!(%error, "terminals can no longer be watched");
                    return;
                }
            }
        }
        ready.clear_ready();
    }
}

fn notify(watched: &Watched, number: i32, events: ReadFlags) {
    if events.contains(ReadFlags::QUEUE_OVERFLOW) {
        watched
            .values()
            .for_each(|(_, happened)| happened.notify_one());
    } else if let Some((_, happened)) = watched.get(&number) {
        happened.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
