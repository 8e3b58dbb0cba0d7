use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cast::Position;
use crate::session::Session;

/// Recordings of so many of an agent's sessions are kept: as many as it has in its history.
const SESSIONS: usize = 21;

/// How a file of a recording ends.
const EXTENSION: &str = ".cast";

/// A UUID has so many characters.
const ID: usize = 36;

/// The directory of one agent's recordings, or of those of a session without an agent.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// A file with a part of a session's recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartFile {
    /// When the session began, its name and its id: by this they are in order.
    stem: String,
    pub number: u32,
    pub path: PathBuf,
}

impl PartFile {
    fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
        let (stem, number) = name.rsplit_once('.')?;
        let number = number.parse().ok()?;
        let stem = stem.to_owned();
        stem.is_char_boundary(stem.len().checked_sub(ID)?)
            .then_some(PartFile { stem, number, path })
    }

    /// The id of the session.
    pub fn session(&self) -> &str {
        &self.stem[self.stem.len() - ID..]
    }
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Folder(path)
    }

    /// All parts in it: the oldest session first, and of a session the first.
    pub fn parts(&self) -> io::Result<Vec<PartFile>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut parts = Vec::new();
        for entry in entries {
            parts.extend(PartFile::parse(entry?.path()));
        }
        parts.sort();
        Ok(parts)
    }

    /// Where a part of the session's recording is.
    fn file(&self, session: &Session, number: u32) -> PathBuf {
        // RFC 3339 without what is no good in names of files.
        let began = session.label.created_at.chars();
        let began: String = began
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let (name, id) = (session.name.as_str(), &session.id);
        self.0
            .join(format!("{began}-{name}-{id}.{number:06}{EXTENSION}"))
    }

    /// The last part of the session's recording, if there is one.
    pub fn last_of(&self, session: &Session) -> io::Result<Option<PartFile>> {
        let mut parts = self.parts()?;
        parts.retain(|part| part.session() == session.id);
        Ok(parts.pop())
    }

    /// Begins a part, with its first lines.
    pub fn begin(&self, session: &Session, number: u32, lines: &[u8]) -> io::Result<Part> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0);
        made?;
        let path = self.file(session, number);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut part = Part {
            file,
            number,
            path,
            bytes: 0,
        };
        if let Err(error) = part.append(lines) {
            // A recording that has not begun is none.
            let _ = fs::remove_file(&part.path);
            return Err(error);
        }
        Ok(part)
    }

    /// Removes the oldest parts until the rest, of which `writing` is written, are no more than `most` bytes.
    pub fn shorten(&self, writing: &Path, most: u64) -> io::Result<()> {
        let mut parts = Vec::new();
        for part in self.parts()? {
            if part.path != writing {
                parts.push((fs::symlink_metadata(&part.path)?.len(), part));
            }
        }
        let mut bytes: u64 = parts.iter().map(|(bytes, _)| bytes).sum();
        let mut sessions: Vec<String> = Vec::new();
        for (_, part) in &parts {
            if sessions.last().is_none_or(|last| last != part.session()) {
                sessions.push(part.session().to_owned());
            }
        }
        let old = sessions.len().saturating_sub(SESSIONS);
        let old = &sessions[..old];
        for (length, part) in parts {
            if bytes <= most && !old.iter().any(|session| session == part.session()) {
                break;
            }
            fs::remove_file(&part.path)?;
            bytes -= length;
        }
        Ok(())
    }
}

/// The part that is written.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    pub number: u32,
    pub path: PathBuf,
    pub bytes: u64,
}

impl Part {
    /// Goes on with one that an earlier service has written, up to the last position in it; and when
    /// that was. None if it has none.
    pub fn resume(part: &PartFile) -> io::Result<Option<(Self, Position, SystemTime)>> {
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .custom_flags(no_link)
            .open(&part.path)?;
        let mut written = Vec::new();
        file.read_to_end(&mut written)?;
        let Some((position, length)) = Position::last(&written) else {
            return Ok(None);
        };
        let at = file.metadata()?.modified()?;
        file.set_len(length as u64)?;
        let part = Part {
            file,
            number: part.number,
            path: part.path.clone(),
            bytes: length as u64,
        };
        Ok(Some((part, position, at)))
    }

    /// Adds whole lines, all or none of them.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What was written of them is half a line.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }
}
