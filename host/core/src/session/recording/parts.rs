use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::cast::Position;
use crate::session::Session;

/// Recordings of so many of an agent's sessions are kept: as many as it has in its history.
const SESSIONS: usize = 21;

/// How a file of a recording ends.
const EXTENSION: &str = ".cast";

/// A UUID has so many characters.
const ID: usize = 36;

/// The first line of a part is shorter, in bytes.
const FIRST_LINE: usize = 4096;

/// So much of the end of a part is read at first, to find the last position in it, in bytes.
const TAIL: u64 = 64 << 10;

/// The rights of a folder.
const FOLDER_MODE: u32 = 0o700;

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

    /// Opens it to be read; none where its first line is not there yet.
    pub fn open(&self) -> io::Result<Option<File>> {
        let file = open_regular(OpenOptions::new().read(true), &self.path)?;
        let mut start = [0; FIRST_LINE];
        let length = file.read_at(&mut start, 0)?;
        Ok(start[..length].contains(&b'\n').then_some(file))
    }
}

/// Opens a file that is there, and neither a link nor something that may keep whoever opens it waiting.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => {
            let reason = format!("`{}` is no regular file", path.display());
            Err(io::Error::new(ErrorKind::InvalidInput, reason))
        }
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
        self.make()?;
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
            is_torn: false,
        };
        if let Err(error) = part.append(lines) {
            // A recording that has not begun is none.
            let _ = fs::remove_file(&part.path);
            return Err(error);
        }
        Ok(part)
    }

    fn make(&self) -> io::Result<()> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&self.0);
        made?;
        let found = fs::symlink_metadata(&self.0)?;
        if !found.is_dir() {
            let reason = format!("`{}` is no directory", self.0.display());
            return Err(io::Error::new(ErrorKind::NotADirectory, reason));
        }
        match found.mode() & 0o777 {
            FOLDER_MODE => Ok(()),
            _ => fs::set_permissions(&self.0, Permissions::from_mode(FOLDER_MODE)),
        }
    }

    /// Removes the oldest parts until the rest, of which `writing` is written, are no more than `most` bytes.
    /// Somebody else may remove some as well.
    pub fn shorten(&self, writing: &Path, most: u64) -> io::Result<()> {
        let mut parts = Vec::new();
        for part in self.parts()? {
            if part.path != writing
                && let Some(found) = unless_gone(fs::symlink_metadata(&part.path))?
            {
                parts.push((found.len(), part));
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
            unless_gone(fs::remove_file(&part.path))?;
            bytes -= length;
        }
        Ok(())
    }
}

/// None where what it was about is not there.
fn unless_gone<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

/// The part that is written.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    pub number: u32,
    pub path: PathBuf,
    pub bytes: u64,
    /// Whether there is half a line at its end, which could not be taken back.
    is_torn: bool,
}

impl Part {
    /// Goes on with one that an earlier service has written, up to the last position in it; and when
    /// that was. None if it has none.
    pub fn resume(part: &PartFile) -> io::Result<Option<(Self, Position, SystemTime)>> {
        let file = open_regular(OpenOptions::new().read(true).append(true), &part.path)?;
        let Some((position, length)) = last_position(&file)? else {
            return Ok(None);
        };
        let at = file.metadata()?.modified()?;
        file.set_len(length)?;
        let part = Part {
            file,
            number: part.number,
            path: part.path.clone(),
            bytes: length,
            is_torn: false,
        };
        Ok(Some((part, position, at)))
    }

    /// Whether somebody has removed it, so that nobody finds what is written.
    pub fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    /// Whether nothing more can be added, as half a line is at its end.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Adds whole lines, all or none of them.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What was written of them is half a line.
            self.is_torn = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

/// The last position in a part, and the length of the part up to its end. Read from the end: a part is
/// long, and the last position is not far from there.
fn last_position(mut file: &File) -> io::Result<Option<(Position, u64)>> {
    let length = file.metadata()?.len();
    let mut tail = TAIL;
    loop {
        let start = length.saturating_sub(tail);
        file.seek(SeekFrom::Start(start))?;
        let mut written = Vec::new();
        file.take(length - start).read_to_end(&mut written)?;
        // What is read begins within a line.
        let line = match start {
            0 => Some(0),
            _ => written.iter().position(|byte| *byte == b'\n'),
        };
        let found = line.and_then(|line| {
            let (position, end) = Position::last(&written[line..])?;
            Some((position, start + (line + end) as u64))
        });
        if found.is_some() || start == 0 {
            return Ok(found);
        }
        tail *= 4;
    }
}
