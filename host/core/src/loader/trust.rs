use std::path::{Path, PathBuf};

use super::LoadError;
pub use crate::access::Distrust;
use crate::access::{Accounts, Entry};

/// Whether a library's owner and permissions are looked at before its code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The file and every directory above it belong to root or to this user, and nobody else can
    /// write to them.
    #[default]
    Strict,
    /// Anything is loaded.
    Off,
}

impl Trust {
    /// Checks a canonical path to a library.
    ///
    /// The check and the loading that follows look at the path one after the other. That is
    /// safe: only root and this user could swap the file in between, or others that the check finds.
    pub fn check(self, library: &Path) -> Result<(), LoadError> {
        if self == Trust::Off {
            return Ok(());
        }
        let accounts = Accounts::read();
        for (depth, path) in library.ancestors().enumerate() {
            let entry = Entry::read(path).map_err(|source| LoadError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            match entry.distrust(&accounts) {
                None => {}
                // Nobody but its owner removes or renames an entry of it.
                Some(Distrust::Sticky) if depth > 1 => {}
                Some(reason) => {
                    return Err(LoadError::Untrusted {
                        path: library.to_owned(),
                        culprit: path.to_owned(),
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A path as it is meant: without links and relative steps.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
