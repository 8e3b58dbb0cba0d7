use std::collections::VecDeque;
use std::fs::File;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Take};

use super::cast::Header;
use super::parts::Folder;

/// So much is read at a time, at least, in bytes.
const PIECE: usize = 64 << 10;

/// A recording as one cast, as far as it was written when it was opened.
#[derive(Debug)]
pub struct Cast {
    /// Those that are still to be read; the first one's header is that of the whole.
    parts: VecDeque<File>,
    reading: Option<Reading>,
    is_first: bool,
}

#[derive(Debug)]
struct Reading {
    file: BufReader<Take<tokio::fs::File>>,
    /// So many lines are of this part alone.
    skipped: usize,
}

impl Cast {
    /// That of a session, if there is one.
    pub(super) fn open(folder: &Folder, session: &str) -> io::Result<Option<Self>> {
        let mut parts = folder.parts()?;
        parts.retain(|part| part.session() == session);
        let mut files = VecDeque::new();
        for part in parts {
            match part.open() {
                Ok(file) => files.extend(file),
                // The oldest may go at any time, and with a gap nothing before it can be played.
                Err(error) if error.kind() == io::ErrorKind::NotFound => files.clear(),
                Err(error) => return Err(error),
            }
        }
        Ok((!files.is_empty()).then_some(Cast {
            parts: files,
            reading: None,
            is_first: true,
        }))
    }

    /// What comes next.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut piece = Vec::new();
        loop {
            let Some(reading) = &mut self.reading else {
                match self.open_next().await? {
                    Ok(reading) => self.reading = Some(reading),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let start = piece.len();
            match reading.file.read_until(b'\n', &mut piece).await {
                Ok(_) if piece.len() > start && piece.ends_with(b"\n") => {}
                // What was written in this moment ends in the middle of a line.
                Ok(_) => {
                    piece.truncate(start);
                    self.reading = None;
                    if piece.is_empty() {
                        continue;
                    }
                    return Some(Ok(piece.into()));
                }
                Err(error) => return Some(Err(error)),
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
                return Some(Ok(piece.into()));
            }
        }
    }

    async fn open_next(&mut self) -> Option<io::Result<Reading>> {
        let file = tokio::fs::File::from_std(self.parts.pop_front()?);
        let length = match file.metadata().await {
            Ok(metadata) => metadata.len(),
            Err(error) => return Some(Err(error)),
        };
        let skipped = usize::from(!std::mem::take(&mut self.is_first));
        Some(Ok(Reading {
            file: BufReader::with_capacity(PIECE, file.take(length)),
            skipped,
        }))
    }
}
