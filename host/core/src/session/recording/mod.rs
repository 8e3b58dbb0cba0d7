//! Recordings of what terminals show, as asciicasts of version 3.

mod cast;
mod parts;
mod reader;
mod readers;
mod recorder;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use agentd_api::{RecordingState, State};
use agentd_plugin_api::threads::{Threads, blocking};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::{Session, Sessions, lock};
use crate::{Error, Result};

use parts::Folder;
use readers::Readers;
use recorder::{PER_SECOND, Recorder};

pub use reader::Cast;

/// How long a disk may take that is not to be waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many recordings may be opened at a time: each has a thread, which a disk that does not answer keeps.
const OPENED_AT_ONCE: usize = 8;

/// Where recordings are, and what records.
pub struct Recordings {
    /// Where new ones are written.
    place: PathBuf,
    /// The service's own place, from which those of an agent go with it.
    own: PathBuf,
    records_all: bool,
    /// Of an agent, in bytes.
    kept: u64,
    /// So much output of each is recorded in a second for long, in bytes.
    per_second: i64,
    /// What records: a disk that does not answer holds up this thread alone. Made when it is needed.
    thread: OnceLock<io::Result<Threads>>,
    opens: Arc<Semaphore>,
    readers: Arc<Readers>,
    running: Mutex<Vec<(String, Arc<Recording>)>>,
}

/// The recording of a session.
#[derive(Debug)]
pub(super) struct Recording {
    /// Why it ended before its session did.
    failure: OnceLock<String>,
    /// Up to where the output is written; the end of all when nothing more will be. None before the
    /// recording has begun on the disk.
    written: watch::Sender<Option<u64>>,
    discarded: watch::Sender<bool>,
}

impl Recording {
    fn new() -> Self {
        Recording {
            failure: OnceLock::new(),
            written: watch::Sender::new(None),
            discarded: watch::Sender::new(false),
        }
    }

    /// As clients see it.
    pub fn describe(&self, session: State) -> agentd_api::Recording {
        let reason = self.failure.get().cloned();
        let state = match session == State::Exited || reason.is_some() {
            true => RecordingState::Ended,
            false => RecordingState::Recording,
        };
        agentd_api::Recording { state, reason }
    }

    fn note_written(&self, seq: u64) {
        self.written.send_if_modified(|written| {
            let is_more = Some(seq) > *written;
            *written = Some(seq).max(*written);
            is_more
        });
    }

    /// Waits until the output up to `seq` is written, or nothing more will be.
    async fn has_written(&self, seq: u64) {
        // The sender lives as long as `self`.
        let mut written = self.written.subscribe();
        let _ = written.wait_for(|written| *written >= Some(seq)).await;
    }

    /// Whether it is on the disk, or will never be.
    fn has_begun(&self) -> bool {
        self.written.borrow().is_some()
    }

    fn is_discarded(&self) -> bool {
        *self.discarded.borrow()
    }

    async fn discarded(&self) {
        let _ = self.discarded.subscribe().wait_for(|it| *it).await;
    }

    /// Waits so long, or until it is discarded.
    async fn pause(&self, time: Duration) {
        let _ = timeout(time, self.discarded()).await;
    }
}

impl Recordings {
    /// New ones are written in `place`, where that is given, and then of all agents; else in `own`, of those for
    /// which it is asked. `kept` bytes of an agent are kept.
    pub fn new(place: Option<PathBuf>, own: PathBuf, kept: u64) -> Self {
        Recordings {
            records_all: place.is_some(),
            place: place.unwrap_or_else(|| own.clone()),
            own,
            kept,
            per_second: PER_SECOND,
            thread: OnceLock::new(),
            opens: Arc::new(Semaphore::new(OPENED_AT_ONCE)),
            readers: Readers::new(),
            running: Mutex::default(),
        }
    }

    /// Whether all sessions are recorded that do not say otherwise.
    pub fn records_all(&self) -> bool {
        self.records_all
    }

    /// Begins to record the session, if that is wanted.
    pub(super) fn begin(self: &Arc<Self>, session: &Arc<Session>) {
        let wanted = session.label.record.unwrap_or(self.records_all);
        if !wanted || !session.has_terminal() {
            return;
        }
        let recording = Arc::new(Recording::new());
        if session.recording.set(recording.clone()).is_err() {
            return;
        }
        let key = key(session);
        self.lock().push((key.clone(), recording.clone()));
        let started = self.thread.get_or_init(|| {
            Threads::start(
                Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("agentd-record")
                    .enable_time(),
            )
        });
        let over = Over {
            recordings: self.clone(),
            recording: recording.clone(),
            session: session.clone(),
            own: self.own.join(&key),
        };
        let session = session.clone();
        match started {
            Ok(thread) => {
                let recordings = self.clone();
                thread.handle().spawn(async move {
                    let recorded = recordings.record(&session, &recording, &key).await;
                    over.note(recorded);
                });
            }
            Err(error) => over.note(Err(io::Error::new(error.kind(), error.to_string()))),
        }
    }

    async fn record(
        &self,
        session: &Arc<Session>,
        recording: &Arc<Recording>,
        key: &str,
    ) -> io::Result<()> {
        let folder = Folder::new(self.place.join(key));
        let begun =
            Recorder::begin(session, recording, folder, (self.kept, self.per_second)).await?;
        match begun {
            Some(mut recorder) => recorder.run().await,
            None => Ok(()),
        }
    }

    async fn open(&self, key: &str, session: &str) -> Result<Option<Cast>> {
        let places = [&self.place, &self.own];
        let folders = places.map(|place| Folder::new(place.join(clean(key))));
        let session = session.to_owned();
        let readers = self.readers.clone();
        let opens = self.opens.clone();
        let Ok(permit) = timeout(PATIENCE, opens.acquire_owned()).await else {
            return Err(overdue());
        };
        let open = blocking(move || {
            // Until the disk has answered, also when nobody waits for that.
            let _permit = permit;
            Cast::open(&folders, &session, readers)
        });
        let Ok(opened) = timeout(PATIENCE, open).await else {
            return Err(overdue());
        };
        let opened: io::Result<_> = opened?;
        opened.map_err(|error| unreadable(&error))
    }

    /// Removes those of an agent, or of a session without one, that are in the service's own place.
    pub async fn remove(&self, key: &str) {
        let running = self.lock().clone();
        for (_, recording) in running.iter().filter(|(of, _)| of == key) {
            recording.discarded.send_replace(true);
            let over = recording.has_written(u64::MAX);
            if timeout(PATIENCE, over).await.is_err() {
                tracing::warn!(key, "its recording is not written in time");
            }
        }
        let folder = self.own.join(clean(key));
        let remove = blocking(move || remove_folder(&folder));
        match timeout(PATIENCE, remove).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(key, %error, "its recording is not removed"),
            _ => tracing::warn!(key, "its recording is not removed in time"),
        }
    }

    /// Of whom there are recordings in the service's own place.
    pub async fn own(&self) -> Vec<String> {
        let own = self.own.clone();
        let look = blocking(move || {
            let entries = std::fs::read_dir(own)?;
            let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
            names.collect::<io::Result<Vec<_>>>()
        });
        match look.await {
            Ok(Ok(names)) => names.into_iter().flatten().collect(),
            // There is no such directory before the first one.
            _ => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<Recording>)>> {
        lock(&self.running)
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Notes the end of a recording, also when it panics.
struct Over {
    recordings: Arc<Recordings>,
    recording: Arc<Recording>,
    session: Arc<Session>,
    /// What goes with the agent.
    own: PathBuf,
}

impl Over {
    fn note(self, recorded: io::Result<()>) {
        let Err(error) = recorded else { return };
        tracing::warn!(session = %self.session.name, %error, "its recording has ended");
        self.fail(recorder::reason(&error));
    }

    fn fail(&self, reason: String) {
        if self.recording.failure.set(reason).is_ok() {
            let observer = self.session.active.observer();
            observer.recording_ended(&self.session);
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if thread::panicking() {
            self.fail("it failed by a fault of the service".to_owned());
        }
        let over = &self.recording;
        // Who removed it may not have waited for a disk that was slow, on which it was written since.
        if over.is_discarded()
            && let Err(error) = remove_folder(&self.own)
        {
            tracing::warn!(session = %self.session.name, %error, "its recording is not removed");
        }
        let mut running = self.recordings.lock();
        running.retain(|(_, recording)| !Arc::ptr_eq(recording, over));
        drop(running);
        over.written.send_replace(Some(u64::MAX));
    }
}

impl Sessions {
    /// The recording of a session of now or before, up to what it has printed by now.
    pub async fn recording(&self, key: &str, session: &str) -> Result<Cast> {
        let listed = self.list();
        let mut has_begun = true;
        if let Some(listed) = listed.iter().find(|listed| listed.id == session) {
            listed.is_recorded().await;
            has_begun = listed.recording.get().is_none_or(|it| it.has_begun());
        }
        let cast = match self.recordings() {
            Some(recordings) => recordings.open(key, session).await?,
            None => None,
        };
        cast.ok_or_else(|| {
            if !has_begun {
                return overdue();
            }
            Error::not_found("recording of the session", session).hint(
                "ask for one with `record` when it is created, or set AGENTD_RECORD_DIR for all",
            )
        })
    }
}

impl Session {
    /// How its recording is, if there is one.
    pub(super) fn describe_recording(&self, state: State) -> Option<agentd_api::Recording> {
        Some(self.recording.get()?.describe(state))
    }

    /// Waits until its output so far is recorded, or until its end if it has ended; not for long.
    pub async fn is_recorded(&self) {
        let Some(recording) = self.recording.get() else {
            return;
        };
        let log = self.terminal.log();
        let seq = match log.has_ended() {
            true => u64::MAX,
            false => log.head(),
        };
        let _ = timeout(PATIENCE, recording.has_written(seq)).await;
    }

    /// Where its recording is: that of its agent, or its own.
    pub fn recording_key(&self) -> String {
        key(self)
    }
}

/// What its folder is named by.
fn key(session: &Session) -> String {
    match &session.label.owner {
        Some(owner) => clean(owner),
        None => format!("{}-{}", session.backend.name(), session.id),
    }
}

/// Nothing but what may be in a name: an owner comes from a label, which a backend keeps.
fn clean(key: &str) -> String {
    key.replace(
        |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_',
        "-",
    )
}

fn unreadable(error: &io::Error) -> Error {
    unavailable(format!("the recording cannot be read: {error}"))
}

fn overdue() -> Error {
    unavailable(format!(
        "the disk of the recordings has not answered in {PATIENCE:?}"
    ))
}

fn unavailable(message: String) -> Error {
    Error::unavailable("not-saved", message).hint("look at the disk of the recordings")
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place: &Path = &self.place;
        f.debug_struct("Recordings")
            .field("place", &place)
            .finish_non_exhaustive()
    }
}
