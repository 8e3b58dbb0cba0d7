use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use agentd_host::{Error, Result};
use rusqlite::{Connection, ErrorCode};

use crate::crash_point::CrashPoint;

/// Jobs of one transaction, at most.
const BATCH: usize = 256;

/// How long a change waits that could not be made, unless something is asked for before.
const PAUSE: Duration = Duration::from_secs(1);

/// So many changes wait at most for the disk, beside those that matter.
const WAITING: usize = 1000;

/// What the database's thread is asked to do.
pub enum Job {
    /// Something that somebody waits for: its failure is the answer.
    Once(Box<dyn FnOnce(&Connection) -> Answer + Send>),
    /// Something that nobody waits for.
    Repeated(Change),
}

/// Called with how the transaction ended.
type Answer = Box<dyn FnOnce(&rusqlite::Result<()>)>;

/// A change that is made again until it is on the disk.
pub struct Change {
    /// Whether it is never given up while the disk takes nothing. There are few of these.
    matters: bool,
    work: Work,
}

/// Called as often as it takes.
type Work = Box<dyn FnMut(&Connection) -> rusqlite::Result<Published> + Send>;

/// Called once the change is on the disk.
type Published = Box<dyn FnOnce()>;

impl Job {
    /// Does this, and calls `then` with what came of it if that is on the disk, and `answer`.
    pub fn once<T: 'static>(
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
        answer: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Self {
        Job::Once(Box::new(move |connection| {
            let result = in_savepoint(connection, work);
            Box::new(move |committed| {
                let saved = match committed {
                    Ok(()) => result.map_err(|error| not_saved(&error)),
                    Err(error) => Err(not_saved(error)),
                };
                if let Ok(value) = &saved {
                    then(value);
                }
                answer(saved);
            })
        }))
    }
}

impl Change {
    /// Does this, and calls `then` with what came of it once that is on the disk.
    pub fn new<T: 'static>(
        matters: bool,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl Fn(&T) + Send + Clone + 'static,
    ) -> Self {
        let work = move |connection: &Connection| {
            let value = in_savepoint(connection, &mut work)?;
            let then = then.clone();
            let published: Published = Box::new(move || then(&value));
            Ok(published)
        };
        Change {
            matters,
            work: Box::new(work),
        }
    }
}

/// Does jobs in their order, until nobody can ask for more.
pub fn run(connection: &Connection, queue: &Receiver<Job>) {
    let mut waiting = Waiting::default();
    loop {
        let first = match waiting.is_empty() {
            true => queue.recv().map_err(RecvTimeoutError::from),
            false => queue.recv_timeout(PAUSE),
        };
        match first {
            Ok(job) => batch(connection, &mut waiting, Some(job), queue),
            Err(RecvTimeoutError::Timeout) => batch(connection, &mut waiting, None, queue),
            Err(RecvTimeoutError::Disconnected) => return waiting.give_up(),
        }
    }
}

/// One transaction, of what waits and of what comes meanwhile. A job that fails undoes what it did,
/// and nothing of the others, unless the disk is the reason.
fn batch(
    connection: &Connection,
    waiting: &mut Waiting,
    mut next: Option<Job>,
    queue: &Receiver<Job>,
) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let mut outcomes = Vec::new();
    let mut made = begun.and_then(|()| waiting.make(connection, 0, &mut outcomes));
    loop {
        match next {
            Some(Job::Once(work)) => outcomes.push(Outcome::Once(work(connection))),
            Some(Job::Repeated(change)) => {
                let place = waiting.push(change);
                made = made.and_then(|()| waiting.make(connection, place, &mut outcomes));
            }
            None => {}
        }
        // A full disk ends the transaction at once.
        if made.is_err() || connection.is_autocommit() || outcomes.len() >= BATCH {
            break;
        }
        next = match queue.try_recv() {
            Ok(job) => Some(job),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        };
    }
    CrashPoint::DatabaseWritten.reached();
    let committed = made.and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        // An error means that there is no transaction, which is what is wanted.
        let _ = connection.execute_batch("ROLLBACK");
    }
    CrashPoint::DatabaseCommitted.reached();
    for outcome in outcomes {
        match outcome {
            Outcome::Once(answer) => answer(&committed),
            Outcome::Repeated(published) if committed.is_ok() => published(),
            Outcome::Repeated(_) => {}
        }
    }
    waiting.settle(&committed);
}

enum Outcome {
    Once(Answer),
    Repeated(Published),
}

/// The changes that are not on the disk, oldest first.
#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// How many of them do not matter.
    minor: usize,
    /// How many more there were.
    given_up: usize,
    /// Whether it was logged that the disk takes nothing.
    logged: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds one, and gives its place.
    fn push(&mut self, change: Change) -> usize {
        if !change.matters && self.minor == WAITING {
            self.given_up += 1;
            return self.changes.len();
        }
        self.minor += usize::from(!change.matters);
        self.changes.push_back(change);
        self.changes.len() - 1
    }

    /// Makes those from there on. Fails when the disk does.
    fn make(
        &mut self,
        connection: &Connection,
        from: usize,
        outcomes: &mut Vec<Outcome>,
    ) -> rusqlite::Result<()> {
        for change in self.changes.range_mut(from..) {
            match (change.work)(connection) {
                Ok(published) => outcomes.push(Outcome::Repeated(published)),
                Err(error) if is_of_the_disk(&error) => return Err(error),
                // It would fail again.
                Err(error) => tracing::error!(%error, "a change of an agent cannot be kept"),
            }
        }
        Ok(())
    }

    /// All of them were made, or none.
    fn settle(&mut self, committed: &rusqlite::Result<()>) {
        match committed {
            Ok(()) => {
                if std::mem::take(&mut self.logged) {
                    let given_up = std::mem::take(&mut self.given_up);
                    tracing::info!(given_up, "what happened to agents is on the disk again");
                }
                self.changes.clear();
                self.minor = 0;
            }
            Err(error) if !self.changes.is_empty() && !self.logged => {
                self.logged = true;
                tracing::warn!(
                    %error,
                    "what happened to agents is not on the disk, and is written again until it is"
                );
            }
            Err(_) => {}
        }
    }

    fn give_up(self) {
        if !self.changes.is_empty() {
            let count = self.changes.len();
            tracing::error!(count, "what happened to agents last is not on the disk");
        }
    }
}

/// Whether what failed may succeed later.
fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error_code() else {
        // Outside of a transaction, which the disk has ended.
        return matches!(error, rusqlite::Error::InvalidQuery);
    };
    matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
    )
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Outside of a transaction a savepoint would begin one, and commit it.
    if connection.is_autocommit() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    connection.execute_batch("SAVEPOINT job")?;
    let result = work(connection);
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK TO job")?;
    }
    if !connection.is_autocommit() {
        connection.execute_batch("RELEASE job")?;
    }
    result
}

fn not_saved(error: &rusqlite::Error) -> Error {
    let failed = Error::unavailable("not-saved", format!("the database failed: {error}"));
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => failed.hint("free space on the disk of the state directory"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            failed.hint("make the state directory writable for the service")
        }
        Some(ErrorCode::SystemIoFailure) => {
            failed.hint("see whether the disk of the state directory is well and can be written to")
        }
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use rusqlite::ffi;

    use super::*;

    /// A database with one table, and what to ask its thread by. What is published is received.
    fn database() -> (Sender<Job>, Receiver<String>, Sender<String>) {
        let (jobs, queue) = channel();
        thread::spawn(move || {
            let connection = Connection::open_in_memory().unwrap();
            let table = "CREATE TABLE words (word TEXT NOT NULL UNIQUE) STRICT";
            connection.execute_batch(table).unwrap();
            run(&connection, &queue);
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

    /// Inserts a word; the code of a failure is published.
    fn once(word: &'static str, publish: &Sender<String>) -> Job {
        let (then, failed) = (publish.clone(), publish.clone());
        Job::once(
            move |connection| insert(connection, word),
            move |word| then.send(word.clone()).unwrap(),
            move |result| {
                if let Err(error) = result {
                    failed.send(error.code.to_owned()).unwrap();
                }
            },
        )
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
            jobs.send(once("asked", &publish)).unwrap();
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
