use std::collections::VecDeque;

use rusqlite::{Connection, ErrorCode};

use super::job::{Change, Published};

/// So many changes wait at most for the disk, beside those that matter.
pub const WAITING: usize = 1000;

/// The changes that are not on the disk, oldest first.
#[derive(Default)]
pub struct Waiting {
    pub changes: VecDeque<Change>,
    /// How many of them do not matter.
    pub minor: usize,
    /// How many more there were.
    pub given_up: usize,
    /// Whether it was logged that the disk takes nothing.
    logged: bool,
}

impl Waiting {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds one, and gives its place.
    pub fn push(&mut self, change: Change) -> usize {
        if !change.matters && self.minor == WAITING {
            self.given_up += 1;
            return self.changes.len();
        }
        self.minor += usize::from(!change.matters);
        self.changes.push_back(change);
        self.changes.len() - 1
    }

    /// Makes those from there on. Fails when the disk does.
    pub fn make(
        &mut self,
        connection: &Connection,
        from: usize,
        made: &mut Vec<Published>,
    ) -> rusqlite::Result<()> {
        for change in self.changes.range_mut(from..) {
            match (change.work)(connection) {
                Ok(published) => made.push(published),
                Err(error) if is_of_the_disk(&error) => return Err(error),
                // It would fail again.
                Err(error) => tracing::error!(%error, "a change of an agent cannot be kept"),
            }
        }
        Ok(())
    }

    /// All of them were made, or none.
    pub fn settle(&mut self, committed: &rusqlite::Result<()>) {
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

    /// Nothing is written any more.
    pub fn give_up(self) {
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
