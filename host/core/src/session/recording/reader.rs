use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::threads::blocking;
use bytes::Bytes;
use tokio::time::timeout;

use super::cast::Header;
use super::parts::{Folder, PartFile};
use super::readers::Readers;

/// So much is read at a time, at least, in bytes.
const PIECE: usize = 64 << 10;

/// How long a disk may take to give a piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// A part, up to its length when it was opened.
type Source = Box<dyn Read + Send + Sync>;

/// A recording as one cast, as far as it was written when it was opened.
#[derive(Debug)]
pub struct Cast {
    /// Where it waits for its client. None after the end, and when the disk has failed or not answered.
    waits: Option<u64>,
    readers: Arc<Readers>,
    patience: Duration,
}

/// Reads on a thread that a disk may keep waiting, which then keeps this.
pub(super) struct Pieces {
    /// Those that are still to be read; the first one's header is that of the whole.
    parts: VecDeque<Part>,
    /// Of the first of these.
    reading: Option<Reading>,
    is_first: bool,
}

struct Part {
    /// None while it is read, and when it was closed.
    open: Option<Source>,
    /// How it is opened again; what cannot be is not closed.
    again: Option<Again>,
}

struct Again {
    file: PartFile,
    /// Its device and number.
    identity: (u64, u64),
    length: u64,
}

struct Reading {
    /// None when it was closed.
    file: Option<BufReader<Source>>,
    /// So much of it is read, in bytes.
    at: u64,
    /// So many lines are of this part alone.
    skipped: usize,
}

impl Cast {
    /// That of a session, if there is one in one of these.
    pub(super) fn open(
        folders: &[Folder],
        session: &str,
        readers: Arc<Readers>,
    ) -> io::Result<Option<Self>> {
        for folder in folders {
            let parts = open_parts(folder, session)?;
            if !parts.is_empty() {
                return Ok(Some(Cast::of(parts, readers, PATIENCE)));
            }
        }
        Ok(None)
    }

    fn of(parts: VecDeque<Part>, readers: Arc<Readers>, patience: Duration) -> Self {
        let pieces = Pieces {
            parts,
            reading: None,
            is_first: true,
        };
        Cast {
            waits: Some(readers.wait(pieces)),
            readers,
            patience,
        }
    }

    /// What comes next. An error is the last that comes.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut pieces = self.readers.go_on(self.waits.take()?)?;
        let readers = &self.readers;
        let read = async move {
            let turn = readers.turn().await;
            let read = blocking(move || {
                // Until the disk has answered, also when nobody waits for that.
                let _turn = turn;
                let piece = pieces.next();
                (piece, pieces)
            });
            read.await
        };
        match timeout(self.patience, read).await {
            Ok(Ok((Ok(piece), pieces))) => {
                let piece = piece?;
                self.waits = Some(self.readers.wait(pieces));
                Some(Ok(piece))
            }
            Ok(Ok((Err(error), _))) => Some(Err(error)),
            Ok(Err(error)) => Some(Err(io::Error::other(error.to_string()))),
            Err(_) => Some(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        if let Some(waits) = self.waits {
            drop(self.readers.go_on(waits));
        }
    }
}

fn open_parts(folder: &Folder, session: &str) -> io::Result<VecDeque<Part>> {
    let mut parts = folder.parts()?;
    parts.retain(|part| part.session() == session);
    let mut files = VecDeque::new();
    for part in parts {
        match part.open() {
            Ok(Some(file)) => files.push_back(Part::of(part, file)?),
            Ok(None) => {}
            // The oldest may go at any time, and with a gap nothing before it can be played.
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.clear(),
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

impl Part {
    fn of(part: PartFile, file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        let again = Again {
            file: part,
            identity: (found.dev(), found.ino()),
            length: found.len(),
        };
        Ok(Part {
            open: Some(Box::new(file.take(again.length))),
            again: Some(again),
        })
    }

    /// What is in it after its first bytes.
    fn after(&mut self, bytes: u64) -> io::Result<Source> {
        let gone = || {
            let reason = "a part of it was removed while it was fetched";
            io::Error::new(io::ErrorKind::NotFound, reason)
        };
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let again = self.again.as_ref().ok_or_else(gone)?;
        let mut file = again.file.open()?.ok_or_else(gone)?;
        let found = file.metadata()?;
        if (found.dev(), found.ino()) != again.identity {
            return Err(gone());
        }
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Box::new(file.take(again.length.saturating_sub(bytes))))
    }
}

impl Pieces {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::new();
        loop {
            let Some(part) = self.parts.front_mut() else {
                return Ok(None);
            };
            let reading = self.reading.get_or_insert_with(|| Reading {
                file: None,
                at: 0,
                skipped: usize::from(!std::mem::take(&mut self.is_first)),
            });
            let file = match &mut reading.file {
                Some(file) => file,
                None => {
                    let rest = part.after(reading.at)?;
                    reading.file.insert(BufReader::with_capacity(PIECE, rest))
                }
            };
            let start = piece.len();
            reading.at += file.read_until(b'\n', &mut piece)? as u64;
            // What was written in this moment ends in the middle of a line.
            if !piece[start..].ends_with(b"\n") {
                piece.truncate(start);
                self.reading = None;
                self.parts.pop_front();
                if piece.is_empty() {
                    continue;
                }
                return Ok(Some(piece.into()));
            }
            let line = &piece[start..];
            if reading.skipped > 0 {
                if let Some(header) = Header::parse(line) {
                    reading.skipped = 1 + usize::from(header.is_restored());
                }
                reading.skipped -= 1;
                piece.truncate(start);
            } else if line.starts_with(b"#") {
                piece.truncate(start);
            }
            if piece.len() >= PIECE {
                return Ok(Some(piece.into()));
            }
        }
    }

    /// Closes all files that can be opened again.
    pub fn close(&mut self) {
        let is_kept = |part: &Part| part.again.is_none();
        if let Some(reading) = &mut self.reading
            && !self.parts.front().is_some_and(is_kept)
        {
            reading.file = None;
        }
        for part in &mut self.parts {
            if !is_kept(part) {
                part.open = None;
            }
        }
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A file on a disk that answers when it is told to, and has one line each time.
    struct Slow(Mutex<Receiver<()>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.get_mut().unwrap().recv() {
                Ok(()) => {
                    buffer[..5].copy_from_slice(b"line\n");
                    Ok(5)
                }
                Err(_) => Ok(0),
            }
        }
    }

    fn part(source: impl Read + Send + Sync + 'static) -> Part {
        Part {
            open: Some(Box::new(source)),
            again: None,
        }
    }

    /// Fault: the disk does not answer in the middle of a recording. Then: whoever fetches it learns that, it counts
    /// until the disk has answered, and nobody waits for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_does_not_answer_ends_a_cast() {
        let readers = Readers::of(1, 1);
        let (answer, slow) = channel();
        let parts = [part(&b"first\n"[..]), part(Slow(Mutex::new(slow)))];
        let mut cast = Cast::of(parts.into(), readers.clone(), Duration::MAX);
        assert_eq!(cast.next().await.unwrap().unwrap(), "first\n");
        cast.patience = Duration::from_millis(100);
        let error = cast.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(cast.next().await.is_none());
        assert_eq!(readers.may_read(), 0);
        drop((cast, answer));
        drop(readers.turn().await.unwrap());
    }

    /// Fault: who fetches a recording is told to go while the disk does not answer. Then: they need not wait for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_has_to_wait_for_a_disk_that_does_not_answer() {
        let readers = Readers::of(1, 1);
        let (answer, slow) = channel();
        let parts = [part(Slow(Mutex::new(slow)))];
        let mut cast = Cast::of(parts.into(), readers.clone(), Duration::MAX);
        tokio::select! {
            biased;
            _ = cast.next() => panic!("there is nothing"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(readers.may_read(), 0);
        drop((cast, answer));
        drop(readers.turn().await.unwrap());
    }

    /// Two parts with lines, of which the second begins like the next part of a recording.
    fn write_parts(folder: &Path) -> String {
        let id = "00000000-0000-4000-8000-000000000000";
        let header = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n";
        let lines = |part| (0..9000).map(move |line| format!("[0,\"o\",\"{part} {line}\"]\n"));
        let (first, second): (String, String) = (lines(1).collect(), lines(2).collect());
        for (number, lines) in [(1, &first), (2, &second)] {
            let path = folder.join(format!("began-demo-{id}.{number:06}.cast"));
            fs::write(path, format!("{header}{lines}")).unwrap();
        }
        format!("{header}{first}{second}")
    }

    fn open(folder: &Path, readers: &Arc<Readers>) -> Cast {
        let id = "00000000-0000-4000-8000-000000000000";
        let folders = [Folder::new(folder.to_owned())];
        let opened = Cast::open(&folders, id, readers.clone());
        opened.unwrap().unwrap()
    }

    async fn rest(mut cast: Cast) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(piece) = cast.next().await {
            text.extend_from_slice(&piece?);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_longest_has_no_file_open_and_reads_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let whole = write_parts(folder.path());
        let readers = Readers::of(1, 1);
        let mut casts = [0, 1].map(|_| open(folder.path(), &readers));
        let mut read = [String::new(), String::new()];
        // Each closes the other one.
        while casts.iter().any(|cast| cast.waits.is_some()) {
            for (cast, read) in casts.iter_mut().zip(&mut read) {
                if let Some(piece) = cast.next().await {
                    *read += std::str::from_utf8(&piece.unwrap()).unwrap();
                }
            }
        }
        assert!(read.iter().all(|read| *read == whole));
    }

    /// Fault: a part of a recording is removed while a client fetches it. Then: the client has all of it if it is open,
    /// and else learns that it is not whole.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_removed_while_it_is_fetched_is_whole_or_an_error() {
        for is_replaced in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let whole = write_parts(folder.path());
            let readers = Readers::of(1, 1);
            let closed = open(folder.path(), &readers);
            let kept = open(folder.path(), &readers);
            // The same names, and other files.
            let elsewhere = folder.path().with_extension("elsewhere");
            fs::rename(folder.path(), &elsewhere).unwrap();
            fs::create_dir(folder.path()).unwrap();
            if is_replaced {
                write_parts(folder.path());
            }
            assert_eq!(rest(kept).await.unwrap(), whole);
            let error = rest(closed).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
            fs::remove_dir_all(elsewhere).unwrap();
        }
    }
}
