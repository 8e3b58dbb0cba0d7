use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BackendName, LoadError};

/// The directories in which libraries are looked for, in their order. The system's own search
/// (`LD_LIBRARY_PATH`, the linker's cache) has no part in it.
#[derive(Clone, Debug)]
pub struct SearchPath {
    directories: Vec<PathBuf>,
}

/// A file that is named like a backend. Nothing is known of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name in the file's name.
    pub name: BackendName,
    /// Where it is.
    pub path: PathBuf,
    /// The file in an earlier directory that is loaded instead.
    pub shadowed_by: Option<PathBuf>,
}

impl SearchPath {
    /// The search path of this process. `plugin_dirs` is the value of `AGENTD_PLUGIN_DIR`: a
    /// colon list of absolute directories.
    pub fn from_environment(plugin_dirs: Option<&OsStr>) -> Result<Self, LoadError> {
        let executable = std::env::current_exe().ok();
        let data_home = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute())
            .or_else(|| Some(std::env::home_dir()?.join(".local/share")));
        SearchPath::new(plugin_dirs, executable.as_deref(), data_home.as_deref())
    }

    /// As [`from_environment`](Self::from_environment), for a program that is `executable` and a
    /// user whose data is in `data_home`.
    pub fn new(
        plugin_dirs: Option<&OsStr>,
        executable: Option<&Path>,
        data_home: Option<&Path>,
    ) -> Result<Self, LoadError> {
        let mut directories = Vec::new();
        for directory in plugin_dirs.map(std::env::split_paths).into_iter().flatten() {
            if directory.is_relative() && !directory.as_os_str().is_empty() {
                return Err(LoadError::RelativeDirectory { directory });
            }
            directories.push(directory);
        }
        if let Some(beside) = executable.and_then(Path::parent) {
            directories.push(beside.to_owned());
            if let Some(prefix) = beside.parent() {
                directories.push(prefix.join("lib/agentd/plugins"));
            }
        }
        directories.extend(data_home.map(|home| home.join("agentd/plugins")));
        directories.push("/usr/local/lib/agentd/plugins".into());
        directories.push("/usr/lib/agentd/plugins".into());
        directories.retain(|directory| !directory.as_os_str().is_empty());
        let mut once = Vec::new();
        for directory in directories {
            if !once.contains(&directory) {
                once.push(directory);
            }
        }
        Ok(SearchPath { directories: once })
    }

    /// The directories, first to last.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Takes a value of `AGENTD_BACKEND`; the error for an unusable one lists what there is.
    pub fn name(&self, value: &OsStr) -> Result<BackendName, LoadError> {
        BackendName::parse(value).map_err(|error| error.listing(self))
    }

    /// The first file of this backend; what is wrong with it does not matter here. Later ones
    /// are only warned about.
    pub fn find(&self, name: &BackendName) -> Result<PathBuf, LoadError> {
        let file = name.library_file();
        let mut first: Option<PathBuf> = None;
        for directory in &self.directories {
            let path = directory.join(&file);
            match (exists(&path), &first) {
                (Ok(true), None) => first = Some(path),
                (Ok(true), Some(first)) if !is_same(first, &path) => {
                    let (path, first) = (path.display(), first.display());
                    tracing::warn!("`{path}` is not used: `{first}` comes first");
                }
                (Err(source), None) => return Err(LoadError::Unreadable { path, source }),
                _ => {}
            }
        }
        first.ok_or_else(|| {
            if name.is_bundled() {
                LoadError::Missing {
                    name: name.clone(),
                    searched: self.directories.clone(),
                }
            } else {
                LoadError::unknown_name(OsStr::new(name.as_str())).listing(self)
            }
        })
    }

    /// Everything in these directories that is named like a backend, by directory and then by
    /// name. Nothing is loaded, since loading runs code.
    pub fn names(&self) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        for directory in &self.directories {
            let Ok(entries) = fs::read_dir(directory) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                if let Some(name) = BackendName::of_file(&path) {
                    let earlier = all.iter().find(|found| found.name == name);
                    let shadowed_by = earlier.map(|found| found.path.clone());
                    all.push(Found {
                        name,
                        path,
                        shadowed_by,
                    });
                }
            }
        }
        all
    }
}

/// Whether there is an entry, be it a link that leads nowhere.
fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            _ => Err(error),
        },
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
