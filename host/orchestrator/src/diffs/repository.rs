//! Where the parts of a repository are, found without git: it would read the repository's configuration, which
//! may name commands.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Bytes of a file with one reference, at most.
const LONGEST_REFERENCE: u64 = 4096;
/// Bytes of the file with all of them, at most.
const LARGEST_PACKED: u64 = 16 * 1024 * 1024;
/// What an index has before the hash of what it is split from; how long that part is and how often it may seem to
/// be there, at most; and how much of an index is looked at together.
const LINK: &[u8] = b"link";
const LONGEST_LINK: usize = 64 * 1024 * 1024;
const MOST_LINKS: usize = 10_000;
const PART: u64 = 64 * 1024;
/// References that refer to each other, at most.
const DEEPEST: usize = 5;

/// The repository that a directory is in.
#[derive(Debug)]
pub struct Repository {
    /// The directory that its files are in.
    pub top: PathBuf,
    /// What belongs to this checkout: the index and `HEAD`.
    pub own: PathBuf,
    /// What all its checkouts share.
    pub common: PathBuf,
    /// What is checked out.
    pub head: Head,
}

/// What is checked out.
#[derive(Debug, Default, PartialEq)]
pub struct Head {
    /// The branch, if it is one.
    pub branch: Option<String>,
    /// The commit; none before there is one.
    pub commit: Option<String>,
}

impl Repository {
    /// That of the directory, or of the nearest one above it.
    pub fn find(directory: &Path) -> io::Result<Option<Self>> {
        for top in directory.ancestors() {
            let Some(own) = git_directory(top)? else {
                continue;
            };
            let common = match read(&own.join("commondir"), LONGEST_REFERENCE)? {
                Some(path) => own.join(path.trim_end()),
                None => own.clone(),
            };
            if !common.join("objects").is_dir() {
                continue;
            }
            if common.join("reftable").is_dir() {
                return Err(io::Error::other("its references are in a reftable"));
            }
            return Ok(Some(Repository {
                top: top.to_owned(),
                head: head(&own, &common)?,
                own,
                common,
            }));
        }
        Ok(None)
    }
}

/// `.git` is the directory, or a file that names it.
fn git_directory(top: &Path) -> io::Result<Option<PathBuf>> {
    let path = top.join(".git");
    if path.is_dir() {
        return Ok(Some(path));
    }
    let text = read(&path, LONGEST_REFERENCE)?;
    let named = text
        .as_deref()
        .and_then(|text| text.strip_prefix("gitdir: "));
    Ok(named.map(|named| top.join(named.trim_end())))
}

fn head(own: &Path, common: &Path) -> io::Result<Head> {
    let mut head = Head::default();
    let Some(mut value) = read(&own.join("HEAD"), LONGEST_REFERENCE)? else {
        return Err(io::Error::other("it has no `HEAD`"));
    };
    for _ in 0..DEEPEST {
        let text = value.trim_end();
        if is_hash(text) {
            head.commit = Some(text.to_owned());
            return Ok(head);
        }
        let Some(name) = text.strip_prefix("ref: ").filter(|name| is_name(name)) else {
            return Err(io::Error::other("its `HEAD` is not a reference"));
        };
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            head.branch = Some(branch.to_owned());
        }
        let loose = match read(&common.join(name), LONGEST_REFERENCE)? {
            Some(loose) => Some(loose),
            None => read(&own.join(name), LONGEST_REFERENCE)?,
        };
        let Some(next) = loose.or(packed(common, name)?) else {
            return Ok(head);
        };
        value = next;
    }
    Err(io::Error::other("its references refer to each other"))
}

fn packed(common: &Path, name: &str) -> io::Result<Option<String>> {
    let packed = read(&common.join("packed-refs"), LARGEST_PACKED)?.unwrap_or_default();
    let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
    Ok(lines
        .find(|(_, named)| *named == name)
        .map(|(hash, _)| hash.to_owned()))
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.starts_with("refs/") && name.split('/').all(is_part)
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The text of a file, if there is one.
fn read(path: &Path, most: u64) -> io::Result<Option<String>> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!(
            "`{}` is too large",
            path.display()
        )));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a file. Nobody waits for one that is a pipe.
fn open(path: &Path) -> io::Result<Option<File>> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies a file, if there is one, unless it has more bytes than that. The copy is as old as the file: git reads
/// again what has changed no earlier than its index.
pub fn copy(from: &Path, to: &Path, most: u64) -> io::Result<()> {
    let Some(file) = open(from)? else {
        return Ok(());
    };
    let metadata = file.metadata()?;
    if metadata.len() > most {
        return Err(io::Error::other(format!(
            "`{}` is too large",
            from.display()
        )));
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut made = File::create(to)?;
    io::copy(&mut file.take(most), &mut made)?;
    made.set_modified(metadata.modified()?)
}

/// The name of the file beside a split index that has the rest of it: `link` in the index, a length and the hash
/// that the name ends with. The same letters may also be in the name of a file.
pub fn shared_index(index: &Path, beside: &Path, hash: usize) -> io::Result<Option<String>> {
    let Some(mut file) = open(index)? else {
        return Ok(None);
    };
    let (mut part, mut seen) = (Vec::new(), 0);
    while (&mut file).take(PART).read_to_end(&mut part)? > 0 {
        for link in part.windows(LINK.len() + 4 + hash) {
            let Some((length, hash)) = link.strip_prefix(LINK).and_then(<[u8]>::split_first_chunk)
            else {
                continue;
            };
            let length = u32::from_be_bytes(*length) as usize;
            if length < hash.len() || length > LONGEST_LINK || seen == MOST_LINKS {
                continue;
            }
            seen += 1;
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = format!("sharedindex.{hash}");
            if beside.join(&name).is_file() {
                return Ok(Some(name));
            }
        }
        part.drain(..part.len().saturating_sub(LINK.len() + 3 + hash));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn found(files: &[(&str, &str)], at: &str) -> io::Result<Option<Repository>> {
        let folder = tempfile::tempdir()?;
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(path, text)?;
        }
        Repository::find(&folder.path().join(at))
    }

    fn head_of(files: &[(&str, &str)]) -> Result<Head, String> {
        let mut all = vec![(".git/objects/x", "")];
        all.extend(files);
        let found = found(&all, "").map_err(|error| error.to_string())?;
        Ok(found.unwrap().head)
    }

    #[test]
    fn what_is_checked_out_is_found() {
        let head = |branch: Option<&str>, commit: Option<&str>| {
            let (branch, commit) = (branch.map(str::to_owned), commit.map(str::to_owned));
            Ok(Head { branch, commit })
        };
        let on_main = (".git/HEAD", "ref: refs/heads/main\n");
        let (line, packed) = (
            format!("{HASH}\n"),
            format!("# pack-refs\n{HASH} refs/heads/main\n"),
        );
        assert_eq!(head_of(&[(".git/HEAD", &line)]), head(None, Some(HASH)));
        assert_eq!(head_of(&[on_main]), head(Some("main"), None));
        let loose = (".git/refs/heads/main", &line[..]);
        assert_eq!(head_of(&[on_main, loose]), head(Some("main"), Some(HASH)));
        let packed = (".git/packed-refs", &packed[..]);
        assert_eq!(head_of(&[on_main, packed]), head(Some("main"), Some(HASH)));
    }

    #[test]
    fn what_is_no_reference_is_refused_without_its_text() {
        for text in ["", "secret", "ref: refs/../../secret", "ref: /etc/passwd"] {
            let error = head_of(&[(".git/HEAD", text)]).unwrap_err();
            assert_eq!(error, "its `HEAD` is not a reference", "{text}");
        }
        let around = (".git/refs/heads/a", "ref: refs/heads/a");
        let error = head_of(&[(".git/HEAD", "ref: refs/heads/a"), around]).unwrap_err();
        assert_eq!(error, "its references refer to each other");
    }

    #[test]
    fn a_checkout_beside_its_repository_and_a_directory_within_are_found() {
        let (line, own) = (format!("{HASH}\n"), "repo/.git/worktrees/w");
        let files = [
            ("repo/.git/objects/x", ""),
            ("repo/.git/refs/heads/w", &line[..]),
            (&format!("{own}/HEAD")[..], "ref: refs/heads/w\n"),
            (&format!("{own}/commondir")[..], "../..\n"),
            ("w/.git", "gitdir: ../repo/.git/worktrees/w\n"),
            ("w/deep/er/file", ""),
        ];
        let repository = found(&files, "w/deep/er").unwrap().unwrap();
        assert!(repository.top.ends_with("w"));
        assert_eq!(repository.head.commit.as_deref(), Some(HASH));
        assert_eq!(repository.head.branch.as_deref(), Some("w"));
        assert!(found(&files, "").unwrap().is_none());
    }
}
