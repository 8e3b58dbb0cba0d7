use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};

use self::job::Published;
use self::log::Log;
use self::waiting::Waiting;
use crate::crash_point::CrashPoint;

mod job;
mod log;
mod waiting;

pub use job::{Change, Job, Place, When};

/// Jobs of one transaction, at most.
const BATCH: usize = 256;

/// How long a change waits that could not be made, unless something is asked for before.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a change that nobody waits for is held back: first whoever has made it gives its own answer, and
/// what comes meanwhile is written with it.
const LINGER: Duration = Duration::from_micros(200);

/// How long what was written waits at most until the disk is made to have it.
const UNSYNCED: Duration = Duration::from_millis(5);

/// The same for what is written ahead of a call of the backend, or of the next request: the disk is about to be
/// waited for, once for both.
const UNSYNCED_AHEAD: Duration = Duration::from_millis(50);

/// Does jobs in their order.
pub struct Writer<'a> {
    connection: &'a Connection,
    log: Log,
    waiting: Waiting,
    /// What to publish once the disk has it, oldest first.
    unsynced: Vec<Published>,
    /// When the disk is made to have what was written, if there is something that it may not have.
    due: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// Writes to the database in that file, of which SQLite leaves it to this to wait for the disk.
    pub fn new(connection: &'a Connection, database: &Path) -> Self {
        Writer {
            connection,
            log: Log::of(database),
            waiting: Waiting::default(),
            unsynced: Vec::new(),
            due: None,
        }
    }

    /// Does what is asked for, until nobody can ask for more.
    pub fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let next = match self.pause() {
                None => queue.recv().map_err(RecvTimeoutError::from),
                Some(pause) => queue.recv_timeout(pause),
            };
            match next {
                Ok(Job::Wait(when, answer)) if self.waiting.is_empty() => match when {
                    When::Written => answer(&Ok(())),
                    When::OnDisk => answer(&self.sync()),
                },
                Ok(Job::Repeated(change)) => {
                    self.waiting.push(change);
                    self.batch(queue.recv_timeout(LINGER).ok(), queue);
                }
                Ok(job) => self.batch(Some(job), queue),
                Err(RecvTimeoutError::Timeout) if self.due.is_some() => {
                    if let Err(error) = self.sync() {
                        tracing::error!(%error, "what was written may not be on the disk");
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.batch(None, queue),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.sync() {
            tracing::error!(%error, "what was written last may not be on the disk");
        }
        self.waiting.give_up();
    }

    /// How long there is nothing to do, if nothing is asked for.
    fn pause(&self) -> Option<Duration> {
        match self.due {
            Some(due) => Some(due.saturating_duration_since(Instant::now())),
            None => (!self.waiting.is_empty()).then_some(PAUSE),
        }
    }

    /// One transaction, of what waits and of what comes meanwhile. A job that fails undoes what it
    /// did, and nothing of the others, unless the disk is the reason.
    fn batch(&mut self, mut next: Option<Job>, queue: &Receiver<Job>) {
        let connection = self.connection;
        let begun = job::statement(connection, "BEGIN IMMEDIATE");
        let mut published = Vec::new();
        let mut answers = Vec::new();
        let mut is_ahead = self.waiting.is_empty();
        let mut made = begun.and_then(|()| self.waiting.make(connection, 0, &mut published));
        loop {
            match next {
                Some(Job::Once(when, work)) => {
                    let is_first = answers.is_empty() && self.waiting.is_empty();
                    let place = if is_first { Place::First } else { Place::Later };
                    let outcome = work(connection, place);
                    published.extend(outcome.published);
                    answers.push((when, outcome.answer));
                }
                Some(Job::Wait(when, answer)) => answers.push((when, answer)),
                Some(Job::Repeated(change)) => {
                    is_ahead = false;
                    let place = self.waiting.push(change);
                    let make = |()| self.waiting.make(connection, place, &mut published);
                    made = made.and_then(make);
                }
                None => {}
            }
            // A full disk ends the transaction at once.
            if made.is_err() || connection.is_autocommit() || answers.len() >= BATCH {
                break;
            }
            next = match queue.try_recv() {
                Ok(job) => Some(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
        }
        CrashPoint::DatabaseWritten.reached();
        let committed = made.and_then(|()| job::statement(connection, "COMMIT"));
        if committed.is_err() && !connection.is_autocommit() {
            // An error means that there is no transaction, which is what is wanted.
            let _ = job::statement(connection, "ROLLBACK");
        }
        CrashPoint::DatabaseCommitted.reached();
        self.waiting.settle(&committed);
        if committed.is_ok() {
            self.unsynced.extend(published);
            let wait = if is_ahead { UNSYNCED_AHEAD } else { UNSYNCED };
            let due = Instant::now() + wait;
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
        let answers = answers.into_iter();
        let (on_disk, written): (Vec<_>, Vec<_>) =
            answers.partition(|(when, _)| *when == When::OnDisk);
        for (_, answer) in written {
            answer(&committed);
        }
        if !on_disk.is_empty() {
            let synced = committed.and_then(|()| self.sync());
            for (_, answer) in on_disk {
                answer(&synced);
            }
        }
    }

    /// Waits until the disk has all that was written.
    fn sync(&mut self) -> rusqlite::Result<()> {
        if self.due.is_some() {
            self.log.sync().map_err(|error| {
                self.due = Some(Instant::now() + PAUSE);
                let code = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
                rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
            })?;
            self.due = None;
            CrashPoint::DatabaseSynced.reached();
        }
        for published in self.unsynced.drain(..) {
            published();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use super::waiting::WAITING;
    use super::*;

    /// A database with one table, and what to ask its thread by. What is published is received.
    fn database() -> (Sender<Job>, Receiver<String>, Sender<String>) {
        database_logged_in("words.db")
    }

    /// The same, of which this file's log is waited for.
    fn database_logged_in(file: &'static str) -> (Sender<Job>, Receiver<String>, Sender<String>) {
        database_in(tempfile::tempdir().unwrap(), file)
    }

    fn database_in(
        directory: impl AsRef<Path> + Send + 'static,
        file: &'static str,
    ) -> (Sender<Job>, Receiver<String>, Sender<String>) {
        let (jobs, queue) = channel();
        thread::spawn(move || {
            let directory = directory.as_ref();
            let connection = Connection::open(directory.join("words.db")).unwrap();
            let table = "PRAGMA journal_mode = WAL;
                CREATE TABLE words (word TEXT NOT NULL UNIQUE) STRICT";
            connection.execute_batch(table).unwrap();
            Writer::new(&connection, &directory.join(file)).run(&queue);
        });
        let (publish, published) = channel();
        (jobs, published, publish)
    }

    fn insert(connection: &Connection, word: &str) -> rusqlite::Result<String> {
        connection.execute("INSERT INTO words VALUES (?)", [word])?;
        Ok(word.to_owned())
    }

    /// Inserts a word, after so many times at which the disk is full.
    fn change(matters: bool, mut full: usize, word: &'static str, publish: &Sender<String>) -> Job {
        let publish = publish.clone();
        let work = move |connection: &Connection| {
            let word = insert(connection, word)?;
            if full > 0 {
                full -= 1;
                let code = ffi::Error::new(ffi::SQLITE_FULL);
                return Err(rusqlite::Error::SqliteFailure(code, None));
            }
            Ok(word)
        };
        let then = move |word: &String| publish.send(word.clone()).unwrap();
        Job::Repeated(Change::new(matters, work, then))
    }

    /// Inserts a word; what is answered is published as well.
    fn once(when: When, word: &'static str, publish: &Sender<String>) -> Job {
        let (then, answer) = (publish.clone(), publish.clone());
        Job::once(
            when,
            move |connection| insert(connection, word),
            move |word| then.send(word.clone()).unwrap(),
            move |result| {
                let answered = match result {
                    Ok(word) => format!("{word} answered"),
                    Err(error) => error.code.to_owned(),
                };
                answer.send(answered).unwrap();
            },
        )
    }

    #[test]
    fn what_is_written_is_published_once_it_is_on_the_disk() {
        let (jobs, published, publish) = database();
        jobs.send(once(When::Written, "first", &publish)).unwrap();
        let said = [published.recv(), published.recv()];
        assert_eq!(said.map(Result::unwrap), ["first answered", "first"]);
        jobs.send(once(When::OnDisk, "second", &publish)).unwrap();
        let said = [published.recv(), published.recv()];
        assert_eq!(said.map(Result::unwrap), ["second", "second answered"]);
    }

    #[test]
    fn the_log_does_not_grow_with_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (jobs, published, publish) = database_in(directory.path().to_owned(), "words.db");
        let log = directory.path().join("words.db-wal");
        let mut sizes = ["first", "second", "third"].map(|word| {
            jobs.send(once(When::OnDisk, word, &publish)).unwrap();
            published.recv().unwrap();
            assert_eq!(published.recv().unwrap(), format!("{word} answered"));
            std::fs::metadata(&log).unwrap().len()
        });
        sizes.sort_unstable();
        assert_eq!(sizes[0], sizes[2]);
        assert!(sizes[0] > 1000 * 4096);
        // As after a kill: the log is read anew.
        let copy = directory.path().join("copy.db");
        for end in ["", "-wal"] {
            let file = directory.path().join(format!("words.db{end}"));
            std::fs::copy(file, format!("{}{end}", copy.display())).unwrap();
        }
        let copy = Connection::open(copy).unwrap();
        let count = "SELECT count(*) FROM words";
        let count: i64 = copy.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 3);
    }

    #[test]
    fn what_the_disk_may_not_have_is_neither_published_nor_answered_as_on_the_disk() {
        let (jobs, published, publish) = database_logged_in("missing");
        jobs.send(once(When::Written, "first", &publish)).unwrap();
        jobs.send(once(When::OnDisk, "second", &publish)).unwrap();
        let said = [published.recv(), published.recv()];
        assert_eq!(said.map(Result::unwrap), ["first answered", "not-saved"]);
    }

    #[test]
    fn a_change_is_made_again_until_it_is_on_the_disk_and_before_what_came_later() {
        let (jobs, published, publish) = database();
        jobs.send(change(true, 2, "first", &publish)).unwrap();
        jobs.send(change(false, 0, "second", &publish)).unwrap();
        let in_order = [published.recv(), published.recv()];
        assert_eq!(in_order.map(Result::unwrap), ["first", "second"]);
    }

    #[test]
    fn what_is_waited_for_is_refused_while_an_earlier_change_is_not_on_the_disk() {
        let (jobs, published, publish) = database();
        jobs.send(change(true, 1, "first", &publish)).unwrap();
        let mut answers = Vec::new();
        // Until one comes in a transaction with what was repeated.
        while answers.last().is_none_or(|answer| answer != "asked") {
            jobs.send(once(When::OnDisk, "asked", &publish)).unwrap();
            answers.push(published.recv().unwrap());
        }
        let first = answers.iter().position(|answer| answer == "first").unwrap();
        assert!(answers[..first].iter().all(|answer| answer == "not-saved"));
    }

    #[test]
    fn a_change_that_can_never_be_made_holds_up_no_other() {
        let (jobs, published, publish) = database();
        for word in ["same", "same", "other"] {
            jobs.send(change(true, 0, word, &publish)).unwrap();
        }
        let made = [published.recv(), published.recv()];
        assert_eq!(made.map(Result::unwrap), ["same", "other"]);
    }

    #[test]
    fn what_waits_is_bounded_but_for_what_matters() {
        let (_jobs, _published, publish) = database();
        let mut waiting = Waiting::default();
        for _ in 0..2 * WAITING {
            for matters in [false, true] {
                if let Job::Repeated(change) = change(matters, 0, "word", &publish) {
                    waiting.push(change);
                }
            }
        }
        assert_eq!((waiting.minor, waiting.given_up), (WAITING, WAITING));
        assert_eq!(waiting.changes.len(), 3 * WAITING);
    }
}
