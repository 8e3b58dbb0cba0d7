use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The file to which SQLite appends every transaction.
pub struct Log {
    path: PathBuf,
    /// Once it is there. SQLite keeps it as long as the database is open.
    file: Option<File>,
}

impl Log {
    /// Of the database in that file.
    pub fn of(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Log {
            path: path.into(),
            file: None,
        }
    }

    /// Waits until the disk has all of it.
    pub fn sync(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::open(&self.path)?;
                if let Some(directory) = self.path.parent() {
                    File::open(directory)?.sync_all()?;
                }
                self.file.insert(file)
            }
        };
        file.sync_data()
    }
}
