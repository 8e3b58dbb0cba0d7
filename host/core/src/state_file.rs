//! Small files, written as a whole: most once, at the first start, and only read after that.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

/// The text of the file at `path`; where there is none, it is made with the text of `make` and can
/// be read by its owner alone.
///
/// Several processes may do this at the same time and any of them may die at any point: the file
/// is there as a whole or not at all, and all of them get the same text. An empty file is what a
/// full disk once left behind; it is replaced.
pub fn read_or_create(path: &Path, make: impl Fn() -> String) -> io::Result<String> {
    let directory = path.parent().unwrap_or(Path::new("."));
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => return replace_empty(path, directory, make),
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let text = make();
        match written(directory, &text)?.persist_noclobber(path) {
            Ok(_) => {
                File::open(directory)?.sync_all()?;
                return Ok(text);
            }
            // Another process was faster: its text counts.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
}

/// Gives the file at `path` another text, as a whole and for good.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    written(directory, text)?
        .persist(path)
        .map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// One process at a time, so that all of them end up with the text of the first.
fn replace_empty(path: &Path, directory: &Path, make: impl Fn() -> String) -> io::Result<String> {
    let locked = File::open(directory)?;
    flock(&locked, FlockOperation::LockExclusive)?;
    let text = fs::read_to_string(path)?;
    if !text.trim().is_empty() {
        return Ok(text);
    }
    let text = make();
    written(directory, &text)?
        .persist(path)
        .map_err(|error| error.error)?;
    locked.sync_all()?;
    tracing::warn!(
        "`{}` was empty, as a full disk leaves it, and was replaced",
        path.display()
    );
    Ok(text)
}

/// A file of another name that holds `text`, also after a loss of power. Removed when it is
/// dropped.
fn written(directory: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The texts that `threads` readers get which start together, and what is in the directory.
    fn race(directory: &Path, threads: usize) -> (BTreeSet<String>, Vec<String>) {
        let (barrier, made) = (Barrier::new(threads), AtomicUsize::new(0));
        let path = directory.join("file");
        let read = || {
            barrier.wait();
            let make = || format!("text {}", made.fetch_add(1, Ordering::SeqCst));
            read_or_create(&path, make).unwrap()
        };
        let texts = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .collect()
        });
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (texts, names.collect())
    }

    #[test]
    fn all_who_start_together_read_the_same_text() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let (texts, names) = race(directory.path(), 8);
            assert_eq!(texts.len(), 1, "{texts:?}");
            assert_eq!(names, ["file"]);
            let (again, _) = race(directory.path(), 8);
            assert_eq!(again, texts);
            let metadata = directory.path().join("file").metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn an_empty_file_is_replaced_once() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("file"), "\n").unwrap();
            let (texts, names) = race(directory.path(), 8);
            assert_eq!(texts.len(), 1, "{texts:?}");
            assert_eq!(names, ["file"]);
        }
    }
}
