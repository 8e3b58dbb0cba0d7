use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use agentd_host::{Error, Result, StartError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::migrations::migrate;
use crate::writes::{Change, Job, When, Writer};

/// The orchestrator's SQLite file, with a thread that changes it and one that reads it, so that
/// whoever reads does not wait for the disk.
///
/// Changes that come while the thread is busy are made in one transaction (`writes.rs`): the disk is
/// waited for once.
#[derive(Debug)]
pub struct Database {
    jobs: Sender<Job>,
    looks: Sender<Look>,
}

/// Reads, and answers.
type Look = Box<dyn FnOnce(&mut Connection) + Send>;

impl Database {
    /// Opens the file in `state_dir`, or makes it, and brings its schema up to date. No other
    /// process has it open as long as this lives.
    pub fn open(state_dir: &Path) -> Result<Self, StartError> {
        let lock = lock(&state_dir.join("orchestrator.lock"))?;
        let path = state_dir.join("orchestrator.db");
        let connection = connect(&path).map_err(|error| refused(&path, &error))?;
        migrate(&connection, &path)?;
        let mut reader = open(&path).map_err(|error| refused(&path, &error))?;

        let (jobs, queued_jobs) = channel();
        thread("database", move || {
            Writer::new(&connection, &path).run(&queued_jobs);
            drop(lock);
        })?;
        let (looks, queued_looks) = channel::<Look>();
        thread("database reads", move || {
            queued_looks.iter().for_each(|look| look(&mut reader));
        })?;
        Ok(Database { jobs, looks })
    }

    /// Reads what is on the disk, as of one moment.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let look: Look = Box::new(move |connection| {
            let seen = connection
                .transaction()
                .and_then(|transaction| look(&transaction));
            // An error means that nobody waits any more.
            let _ = sender.send(seen);
        });
        // An error means that the thread has panicked; the receiver notices that.
        let _ = self.looks.send(look);
        let failed = |error| Error::internal(format!("the database cannot be read: {error}"));
        receiver.await.map_err(ended)?.map_err(failed)
    }

    /// Does this after what was asked for before. `then` is called with what it returns, in the order
    /// of the jobs, once that is on the disk.
    pub async fn call<T: Clone + Send + 'static>(
        &self,
        when: When,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job = Job::once(when, work, then, move |result| {
            // An error means that nobody waits any more.
            let _ = sender.send(result);
        });
        // An error means that the thread has panicked; the receiver notices that.
        let _ = self.jobs.send(job);
        receiver.await.map_err(ended)?
    }

    /// Waits until all that was asked for before is so far.
    pub async fn wait(&self, when: When) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let job = Job::wait(when, move |result| {
            // An error means that nobody waits any more.
            let _ = sender.send(result);
        });
        // An error means that the thread has panicked; the receiver notices that.
        let _ = self.jobs.send(job);
        receiver.await.map_err(ended)?
    }

    /// Makes this change for those that cannot wait: again and again, until it is on the disk.
    pub fn change(&self, change: Change) {
        // An error means that the thread has panicked, and logged that.
        let _ = self.jobs.send(Job::Repeated(change));
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| StartError::failure(format!("starting threads: {error}")))
}

fn ended(_: oneshot::error::RecvError) -> Error {
    Error::internal("the database's thread has ended")
}

/// Held until the process ends, whatever ends it. The file holds the process id.
fn lock(path: &Path) -> Result<File, StartError> {
    let failed = |error: io::Error| {
        StartError::failure(format!("`{}`: {error}", path.display()))
            .hint("AGENTD_STATE_DIR chooses another state directory")
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            let directory = path.parent().unwrap_or(path).display();
            let message = format!(
                "another agentd-orchestrator, process {}, uses the state directory `{directory}`",
                holder.trim()
            );
            return Err(StartError::failure(message)
                .hint("end that one first, or set AGENTD_STATE_DIR to a directory of its own"));
        }
        Err(error) => return Err(failed(error.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())
    };
    write(&mut file).map_err(failed)?;
    Ok(file)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    private(path);
    let connection = open(path)?;
    let checked: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match checked.as_str() {
        "ok" => Ok(connection),
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(checked),
        )),
    }
}

/// More than there are statements, so that each is prepared once.
const STATEMENTS: usize = 128;

/// For this process alone. SQLite keeps the index of its log in memory then: a mapped file would end
/// the process when the disk becomes read-only.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), c"unix-excl")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit does not wait for the disk: the writer does, for several of them at a time.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    decide(&connection)?;
    Ok(connection)
}

/// Settings that decide what statements do, and how.
pub fn decide(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without it SQLite prepares a statement anew whenever a value may fit another partial index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes the file readable by its owner alone; SQLite gives the files beside it the same mode.
fn private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // An error comes again when the file is opened as a database.
    let _ = options.open(path);
}

/// What is said of a file that cannot be used.
pub fn refused(path: &Path, error: &rusqlite::Error) -> StartError {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            // What was committed last may be in the files beside it.
            let directory = path.parent().unwrap_or(path).display();
            StartError::config(format!("the database `{shown}` is damaged: {error}"))
                .hint("it was left as it is; restore it from a copy, or begin without its agents:")
                .hint(format!(
                    "mkdir {directory}/aside && mv {shown}* {directory}/aside/"
                ))
        }
        // The lock beside it was taken away, or it is not another service.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let message = format!("another process has the database `{shown}` open");
            StartError::failure(message)
                .hint(format!("end that one first: `fuser {shown}` shows it"))
        }
        _ => StartError::failure(format!("the database `{shown}`: {error}"))
            .hint("make the state directory writable, and free space on its disk"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(state_dir: &Path) -> StartError {
        Database::open(state_dir).expect_err("it is refused")
    }

    #[test]
    fn only_its_owner_can_read_it() {
        let state = tempfile::tempdir().unwrap();
        let _database = Database::open(state.path()).unwrap();
        for entry in fs::read_dir(state.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.path());
        }
    }

    #[test]
    fn a_second_one_is_refused_with_the_process_that_holds_it() {
        let state = tempfile::tempdir().unwrap();
        let _first = Database::open(state.path()).unwrap();
        let message = refusal(state.path()).message;
        let holder = format!("process {}", std::process::id());
        assert!(message.contains(&holder), "{message}");
    }

    #[tokio::test]
    async fn a_job_that_fails_undoes_nothing_of_the_others() {
        let state = tempfile::tempdir().unwrap();
        let database = Database::open(state.path()).unwrap();
        let insert = |table: &'static str| {
            move |connection: &Connection| {
                connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER) STRICT")?;
                connection.execute_batch("INSERT INTO t VALUES (1)")?;
                connection.execute_batch(&format!("INSERT INTO {table} VALUES (2)"))
            }
        };
        let (first, failed, last) = tokio::join!(
            database.call(When::OnDisk, insert("t"), |()| {}),
            database.call(When::OnDisk, insert("nowhere"), |()| {}),
            database.call(When::OnDisk, insert("t"), |()| {}),
        );
        first.unwrap();
        assert_eq!(failed.unwrap_err().code, "not-saved");
        last.unwrap();
        let sum = |connection: &Connection| {
            connection.query_row("SELECT sum(n) FROM t", [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(database.read(sum).await.unwrap(), 6);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_written_is_read_whatever_else_is_written_meanwhile() {
        const TABLE: &str = "CREATE TABLE t (n INTEGER, padding BLOB) STRICT";
        let state = tempfile::tempdir().unwrap();
        let database = &Database::open(state.path()).unwrap();
        let made = database.call(
            When::OnDisk,
            |connection| connection.execute_batch(TABLE),
            |()| {},
        );
        made.await.unwrap();
        let write_and_read = |writer: i64| async move {
            for n in 1..=200 {
                let insert = "INSERT INTO t VALUES (?, randomblob(2000))";
                let insert =
                    database.call(When::OnDisk, move |c| c.execute(insert, [writer]), |_| {});
                insert.await.unwrap();
                let count = "SELECT count(*) FROM t WHERE n = ?";
                let count = database
                    .read(move |c| c.query_row(count, [writer], |row| row.get::<_, i64>(0)));
                assert_eq!(count.await.unwrap(), n);
            }
        };
        futures_util::future::join_all((0..8).map(write_and_read)).await;
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let connection = connect(&state.path().join("orchestrator.db")).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let refusal = refusal(state.path());
        assert!(refusal.message.contains("its schema is 99"), "{refusal:?}");
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("orchestrator.db");
        fs::write(&path, [7; 8192]).unwrap();
        let refusal = refusal(state.path());
        assert!(refusal.message.contains("is damaged"), "{refusal:?}");
        assert_eq!(fs::read(&path).unwrap(), [7; 8192]);
    }
}
