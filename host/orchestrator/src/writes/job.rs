use agentd_host::{Error, Result};
use rusqlite::{Connection, ErrorCode};

/// What the database's thread is asked to do.
pub enum Job {
    /// Something that somebody waits for: its failure is the answer.
    Once(When, OnceWork),
    /// Nothing: to be answered when all that was asked for before is so far.
    Wait(When, Answer),
    /// Something that nobody waits for.
    Repeated(Change),
}

/// When what was done is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When it is written: it is there after any end of the service.
    Written,
    /// When it is on the disk: it is there after any end of the machine, with all before it.
    OnDisk,
}

/// Where a job stands in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing was done before it: it is undone by beginning anew.
    First,
    /// It is undone without what was done before it.
    Later,
}

/// What came of a job, if the transaction is committed.
pub struct Outcome {
    /// Called once it is on the disk. None where it came to nothing.
    pub published: Option<Published>,
    /// Called with how the transaction ended.
    pub answer: Answer,
}

/// Called once a change is on the disk.
pub type Published = Box<dyn FnOnce()>;
/// Called with how the transaction ended.
pub type Answer = Box<dyn FnOnce(&rusqlite::Result<()>) + Send>;

/// A change that is made again until it is written.
pub struct Change {
    /// Whether it is never given up while the disk takes nothing. There are few of these.
    pub matters: bool,
    /// Does it.
    pub work: Work,
}

/// Called once.
pub type OnceWork = Box<dyn FnOnce(&Connection, Place) -> Outcome + Send>;

/// Called as often as it takes.
pub type Work = Box<dyn FnMut(&Connection) -> rusqlite::Result<Published> + Send>;

impl Job {
    /// Does this, and calls `answer` with what came of it, and `then` if it is on the disk.
    pub fn once<T: Clone + Send + 'static>(
        when: When,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
        answer: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Self {
        let work = move |connection: &Connection, place: Place| {
            let result = match place {
                Place::First => or_anew(connection, work),
                Place::Later => in_savepoint(connection, work),
            };
            let published = result.as_ref().ok().cloned().map(|value| {
                let published: Published = Box::new(move || then(&value));
                published
            });
            let answer: Answer = Box::new(move |committed| {
                answer(match committed {
                    Ok(()) => result.map_err(|error| not_saved(&error)),
                    Err(error) => Err(not_saved(error)),
                });
            });
            Outcome { published, answer }
        };
        Job::Once(when, Box::new(work))
    }

    /// Calls `answer` when all that was asked for before is so far.
    pub fn wait(when: When, answer: impl FnOnce(Result<()>) + Send + 'static) -> Self {
        let answer = move |kept: &rusqlite::Result<()>| {
            answer(kept.as_ref().copied().map_err(not_saved));
        };
        Job::Wait(when, Box::new(answer))
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

/// Executes a statement that takes no values, which is prepared once.
pub fn statement(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute(())?;
    Ok(())
}

/// Does this as the first of a transaction, or begins that anew: a savepoint would cost copies of all pages.
fn or_anew<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if connection.is_autocommit() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let result = work(connection);
    if result.is_err() && !connection.is_autocommit() {
        statement(connection, "ROLLBACK")?;
        statement(connection, "BEGIN IMMEDIATE")?;
    }
    result
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Outside of a transaction a savepoint would begin one, and commit it.
    if connection.is_autocommit() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    statement(connection, "SAVEPOINT job")?;
    let result = work(connection);
    if result.is_err() && !connection.is_autocommit() {
        statement(connection, "ROLLBACK TO job")?;
    }
    if !connection.is_autocommit() {
        statement(connection, "RELEASE job")?;
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
