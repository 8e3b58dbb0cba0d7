//! Noticing that a program has written to its terminal or read from it.
//!
//! The kernel says so (inotify(7)), so that nothing is asked of tmux, and started, while a pane is
//! quiet. tmux itself would say so through `pipe-pane`, of which a pane has one, the user's, or to
//! a client in control mode, and the description of the crate says why there is none.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use agentd_plugin_api::{descriptor, tracing};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What a process opens as its own terminal, whichever that is.
const OWN_TERMINAL: &str = "/dev/tty";

/// The pause after something has happened there.
const PAUSE: Duration = Duration::from_millis(500);

/// So old may the time of a terminal's last output be: the kernel keeps it so coarsely.
const COARSENESS: Duration = Duration::from_secs(8);

/// One inotify instance for all terminals, which a user may have only a few of. There is one while
/// anything is watched.
#[derive(Clone, Debug, Default)]
pub struct Terminals(Arc<Mutex<Weak<Inotify>>>);

/// Waits for the next thing that happens at a terminal. Dropped, nothing is watched any more.
#[derive(Debug)]
pub struct Watch {
    inotify: Arc<Inotify>,
    number: i32,
    happened: Arc<Happened>,
}

/// The next thing that happens at a terminal, for one who waits.
#[derive(Debug, Default)]
struct Happened {
    notify: Notify,
    /// It was that something was written.
    written: AtomicBool,
}

#[derive(Debug)]
struct Inotify {
    descriptor: Arc<AsyncFd<OwnedFd>>,
    watched: Arc<Mutex<Watched>>,
    reader: JoinHandle<()>,
}

/// By the number of a watch, which all have who watch the same terminal.
type Watched = HashMap<i32, Vec<Arc<Happened>>>;

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

    /// Waits until a program has written to its terminal by way of `/dev/tty`, such as a question for a
    /// password, since a time. The kernel notifies of that file, which is one for all terminals, and notes a
    /// time at the terminal itself.
    pub async fn written_past(&self, terminal: &Path, since: SystemTime) {
        let watch = || self.watch(Path::new(OWN_TERMINAL)).ok().flatten();
        let mut watched = watch();
        loop {
            match &watched {
                Some(watch) => watch.happened().await,
                None => std::future::pending().await,
            };
            // Programs of other terminals may do so all the time.
            sleep(PAUSE).await;
            watched = watch();
            let written = fs::metadata(terminal).and_then(|metadata| metadata.modified());
            if written.is_ok_and(|written| written + COARSENESS >= since) {
                return;
            }
        }
    }
}

impl Watch {
    /// Done once something has happened since this watch was made. Whether something was written, as far
    /// as that is known.
    pub async fn happened(&self) -> bool {
        self.happened.notify.notified().await;
        self.has_been_written()
    }

    /// Whether something was written since this watch was made, as far as that is known.
    pub fn has_been_written(&self) -> bool {
        self.happened.written.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inotify.remove(self.number, &self.happened);
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
    fn add(&self, terminal: &Path) -> Result<(i32, Arc<Happened>), Errno> {
        let what = WatchFlags::MODIFY | WatchFlags::ACCESS | WatchFlags::ONESHOT;
        // Held, so that no number is looked for before it is known.
        let mut watched = lock(&self.watched);
        let number = inotify::add_watch(self.descriptor.get_ref(), terminal, what)?;
        let happened = Arc::<Happened>::default();
        watched.entry(number).or_default().push(happened.clone());
        Ok((number, happened))
    }

    fn remove(&self, number: i32, happened: &Arc<Happened>) {
        let mut watched = lock(&self.watched);
        let Some(waiting) = watched.get_mut(&number) else {
            return;
        };
        waiting.retain(|other| !Arc::ptr_eq(other, happened));
        if waiting.is_empty() {
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
    let all = events.contains(ReadFlags::QUEUE_OVERFLOW);
    let written = all || events.contains(ReadFlags::MODIFY);
    let waiting = watched
        .iter()
        .filter(|(watch, _)| all || **watch == number)
        .flat_map(|(_, waiting)| waiting);
    for happened in waiting {
        happened.written.fetch_or(written, Ordering::AcqRel);
        happened.notify.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
