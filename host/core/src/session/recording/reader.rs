use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use agentd_plugin_api::threads::blocking;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::cast::Header;
use super::parts::Folder;

/// So much is read at a time, at least, in bytes.
const PIECE: usize = 64 << 10;

/// How long a disk may take to give a piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// A part, up to its length when it was opened.
type Source = Box<dyn Read + Send + Sync>;

/// A recording as one cast, as far as it was written when it was opened.
#[derive(Debug)]
pub struct Cast {
    /// None after the end, and when the disk has failed or not answered.
    pieces: Option<Pieces>,
    patience: Duration,
}

/// Reads on a thread that a disk may keep waiting, which then keeps this.
struct Pieces {
    /// Those that are still to be read; the first one's header is that of the whole.
    parts: VecDeque<Source>,
    reading: Option<Reading>,
    is_first: bool,
    /// Among those who read at the same time.
    _place: OwnedSemaphorePermit,
}

struct Reading {
    file: BufReader<Source>,
    /// So many lines are of this part alone.
    skipped: usize,
}

impl Cast {
    /// That of a session, if there is one in one of these.
    pub(super) fn open(
        folders: &[Folder],
        session: &str,
        place: OwnedSemaphorePermit,
    ) -> io::Result<Option<Self>> {
        for folder in folders {
            let parts = open_parts(folder, session)?;
            if !parts.is_empty() {
                return Ok(Some(Cast::of(parts, place, PATIENCE)));
            }
        }
        Ok(None)
    }

    fn of(parts: VecDeque<Source>, place: OwnedSemaphorePermit, patience: Duration) -> Self {
        Cast {
            pieces: Some(Pieces {
                parts,
                reading: None,
                is_first: true,
                _place: place,
            }),
            patience,
        }
    }

    /// What comes next. An error is the last that comes.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut pieces = self.pieces.take()?;
        let read = blocking(move || {
            let piece = pieces.next();
            (piece, pieces)
        });
        match timeout(self.patience, read).await {
            Ok(Ok((Ok(piece), pieces))) => {
                self.pieces = Some(pieces);
                piece.map(Ok)
            }
            Ok(Ok((Err(error), _))) => Some(Err(error)),
            Ok(Err(error)) => Some(Err(io::Error::other(error.to_string()))),
            Err(_) => Some(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

fn open_parts(folder: &Folder, session: &str) -> io::Result<VecDeque<Source>> {
    let mut parts = folder.parts()?;
    parts.retain(|part| part.session() == session);
    let mut files = VecDeque::<Source>::new();
    for part in parts {
        match part.open() {
            Ok(Some(file)) => {
                let length = file.metadata()?.len();
                files.push_back(Box::new(file.take(length)));
            }
            Ok(None) => {}
            // The oldest may go at any time, and with a gap nothing before it can be played.
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.clear(),
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

impl Pieces {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::new();
        loop {
            let reading = match &mut self.reading {
                Some(reading) => reading,
                None => match self.parts.pop_front() {
                    Some(part) => self.reading.insert(Reading {
                        file: BufReader::with_capacity(PIECE, part),
                        skipped: usize::from(!std::mem::take(&mut self.is_first)),
                    }),
                    None => return Ok(None),
                },
            };
            let start = piece.len();
            reading.file.read_until(b'\n', &mut piece)?;
            // What was written in this moment ends in the middle of a line.
            if !piece[start..].ends_with(b"\n") {
                piece.truncate(start);
                self.reading = None;
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
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;

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

    /// Fault: the disk does not answer in the middle of a recording. Then: whoever fetches it learns that, it counts
    /// until the disk has answered, and nobody waits for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_does_not_answer_ends_a_cast() {
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().acquire_owned().await.unwrap();
        let (answer, slow) = channel();
        let parts: [Source; 2] = [Box::new(&b"first\n"[..]), Box::new(Slow(Mutex::new(slow)))];
        let mut cast = Cast::of(parts.into(), place, Duration::MAX);
        assert_eq!(cast.next().await.unwrap().unwrap(), "first\n");
        cast.patience = Duration::from_millis(100);
        let error = cast.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(cast.next().await.is_none());
        assert_eq!(places.available_permits(), 0);
        drop((cast, answer));
        let _freed = places.acquire().await.unwrap();
    }

    /// Fault: who fetches a recording is told to go while the disk does not answer. Then: they need not wait for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_has_to_wait_for_a_disk_that_does_not_answer() {
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().acquire_owned().await.unwrap();
        let (answer, slow) = channel();
        let parts: [Source; 1] = [Box::new(Slow(Mutex::new(slow)))];
        let mut cast = Cast::of(parts.into(), place, Duration::MAX);
        tokio::select! {
            biased;
            _ = cast.next() => panic!("there is nothing"),
            () = tokio::task::yield_now() => {}
        }
        drop((cast, answer));
        let _freed = places.acquire().await.unwrap();
    }
}
