//! What an agent does not see, whether it is there when the agent starts or comes to be later.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use agentd_plugin_api::prelude::*;

/// Empty for an agent: homes, and where services and users have their sockets.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run", "/tmp", "/var/tmp"];

/// An agent has its own.
const OWN: [&str; 2] = ["/dev", "/proc"];

/// So many names may be beside a file that is hidden: each of them is mounted.
const MOST_BESIDE: usize = 250;

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

pub struct Hidden {
    /// Empty for an agent, whatever comes to be in them.
    directories: Vec<PathBuf>,
    /// What is or will be the daemon's: directories, files, and names that are not taken yet.
    private: Vec<PathBuf>,
    /// Directories that stay as they are when the agent starts, without these names in them.
    fixed: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

/// Where a path leads.
enum Place {
    Directory(PathBuf),
    /// A file, or the first name that is not taken; before it the link to it. Each with its directory.
    Names(Vec<(PathBuf, OsString)>),
}

impl Hidden {
    /// The homes and the like, and what is `private`.
    pub fn find(private: &[PathBuf]) -> Result<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let public = HIDDEN.iter().map(PathBuf::from).chain(home);
        let public = public.filter_map(|path| path.canonicalize().ok());
        let mut hidden = Hidden {
            directories: public.filter(|path| path != Path::new("/")).collect(),
            private: Vec::new(),
            fixed: BTreeMap::new(),
        };
        let mut names = Vec::new();
        for path in private {
            match place(path) {
                Place::Directory(path) => {
                    hidden.directories.push(path.clone());
                    hidden.private.push(path);
                }
                Place::Names(found) => names.extend(found),
            }
        }
        for (directory, name) in names {
            hidden.private.push(directory.join(&name));
            if !is_in(&directory, &hidden.directories) && !is_in(&directory, &OWN) {
                hidden.fixed.entry(directory).or_default().insert(name);
            }
        }
        Ok(hidden)
    }

    /// What makes `bwrap` hide it, and at the end, when all is mounted that is to be in there.
    pub fn words(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut words, mut end) = (Vec::new(), Vec::new());
        let root = Path::new("/");
        if !self.fixed.contains_key(root) {
            words.extend(["--ro-bind", "/", "/"].map(str::to_owned));
        }
        for (directory, names) in &self.fixed {
            if directory != root {
                words.extend(["--tmpfs".to_owned(), text(directory)?]);
            }
            for beside in beside(directory, names)? {
                words.extend(shown_again(&beside)?);
            }
            end.extend(["--remount-ro".to_owned(), text(directory)?]);
        }
        words.extend(["--dev", "/dev", "--proc", "/proc"].map(str::to_owned));
        for directory in &self.directories {
            words.extend(["--tmpfs".to_owned(), text(directory)?]);
        }
        Ok((words, end))
    }

    /// A path without links, if it does not show what is hidden as a whole.
    pub fn shown(&self, path: &Path) -> Result<String> {
        let refused =
            |why: &str| Error::refused(format!("`{}` cannot be shown: {why}", path.display()));
        let resolved = path.canonicalize().ok().filter(|_| path.is_absolute());
        let resolved = resolved.ok_or_else(|| refused("it is not there, or not absolute"))?;
        if is_in(&resolved, &self.private) {
            return Err(refused("it is the daemon's own"));
        }
        let mut all = self.directories.iter().chain(&self.private);
        match all.find(|hidden| hidden.starts_with(&resolved)) {
            None => text(&resolved),
            Some(whole) => {
                let why = format!("`{}` is hidden", whole.display());
                Err(refused(&why).hint("use a directory in it, or beside it"))
            }
        }
    }

    /// Whether that is not shown, unless something above it is shown again.
    pub fn contains(&self, path: &Path) -> bool {
        is_in(path, &self.directories) || is_in(path, &self.private)
    }
}

pub fn is_in(path: &Path, all: &[impl AsRef<Path>]) -> bool {
    all.iter().any(|above| path.starts_with(above))
}

/// Where it leads, as far as there is anything.
fn place(path: &Path) -> Place {
    let mut links = MOST_LINKS;
    let mut names = Vec::new();
    let mut current = PathBuf::from("/");
    let mut left: Vec<OsString> = components(path);
    while let Some(name) = left.pop() {
        if name == ".." {
            current.pop();
            continue;
        }
        let next = current.join(&name);
        let kind = fs::symlink_metadata(&next).map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => current = next,
            Ok(kind) if kind.is_symlink() && links > 0 => {
                links -= 1;
                let Ok(target) = fs::read_link(&next) else {
                    names.push((current, name));
                    return Place::Names(names);
                };
                if left.is_empty() {
                    names.push((current.clone(), name));
                }
                if target.is_absolute() {
                    current = PathBuf::from("/");
                }
                left.extend(components(&target));
            }
            _ => {
                names.push((current, name));
                return Place::Names(names);
            }
        }
    }
    Place::Directory(current)
}

/// The names in a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    names.rev().collect()
}

/// What is in a directory, without these names.
fn beside(directory: &Path, names: &BTreeSet<OsString>) -> Result<Vec<PathBuf>> {
    let failed = |error: io::Error| {
        let directory = directory.display();
        Error::unavailable(format!("`{directory}` cannot be read: {error}"))
    };
    let entries = match fs::read_dir(directory) {
        // Whoever may not list it loses nothing.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut beside = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default();
        if names.contains(name) || is_in(&path, &OWN) || path.to_str().is_none() {
            continue;
        }
        beside.push(path);
        if beside.len() > MOST_BESIDE {
            let name = names.first().map_or(OsStr::new(""), OsString::as_os_str);
            let (name, directory) = (name.display(), directory.display());
            let message = format!(
                "`{name}` cannot be hidden in `{directory}`, which has more than {MOST_BESIDE} entries"
            );
            return Err(Error::refused(message).hint("put it into a directory of its own"));
        }
    }
    Ok(beside)
}

/// What shows that, read-only, in a directory that is made anew.
fn shown_again(path: &Path) -> Result<Vec<String>> {
    let shown = text(path)?;
    match fs::read_link(path) {
        Ok(target) => Ok(vec!["--symlink".to_owned(), text(&target)?, shown]),
        // It may go meanwhile.
        Err(_) => Ok(vec!["--ro-bind-try".to_owned(), shown.clone(), shown]),
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::refused(format!("`{}` is no UTF-8", path.display())))
}
