use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::name::{BUNDLED, NAME_RULE};
use super::trust::Distrust;
use super::{BackendName, SearchPath};
use crate::text::line;

/// Why no backend was loaded. Each text is one sentence with the file, the cause and the remedy;
/// [`hints`](LoadError::hints) says what else helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The value of `AGENTD_BACKEND` is not a name, or nothing of that name is installed.
    #[error("Unknown {setting} value '{value}'. Valid options: {}", BUNDLED.join(", "))]
    UnknownName {
        /// The variable: `AGENTD_BACKEND`, or `AGENTD_BACKENDS`.
        setting: &'static str,
        /// The value, without control characters.
        value: String,
        /// Whether it keeps to [`NAME_RULE`].
        well_formed: bool,
        /// What else could have been chosen.
        found: Vec<BackendName>,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The library of a backend that comes with agentd is not there.
    #[error(
        "the library `{}` of the backend `{name}` is missing; build it with `{}`",
        name.library_file(), build_command(name)
    )]
    Missing {
        /// The backend.
        name: BackendName,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// An entry of `AGENTD_PLUGIN_DIR` depends on where the daemon is started.
    #[error(
        "AGENTD_PLUGIN_DIR holds the relative directory `{}`; write it as an absolute path",
        directory.display()
    )]
    RelativeDirectory {
        /// The entry.
        directory: PathBuf,
    },
    /// A file to check is not named like a backend.
    #[error(
        "`{}` is not named like a backend; rename it to `{}` with a name of the form {NAME_RULE}",
        path.display(), LIBRARY_PATTERN
    )]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// The file is there and cannot be looked at.
    #[error("`{}` cannot be read: {source}; check that it exists and its permissions", path.display())]
    Unreadable {
        /// The file or a directory above it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else could change the library.
    #[error(
        "`{}` is not trusted because {} {reason}; {}",
        path.display(), subject(path, culprit), reason.remedy(culprit)
    )]
    Untrusted {
        /// The library.
        path: PathBuf,
        /// The library or the directory above it that others control.
        culprit: PathBuf,
        /// In what way they do.
        reason: Distrust,
    },
    /// Something else has the library's name.
    #[error("`{}` is not a library: it {what}; build or install it again", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; completes "it …".
        what: &'static str,
    },
    /// Its bytes are not those that were installed.
    #[error(
        "`{}` is damaged or was changed: its SHA-256 is not that in `{}`; install both again",
        path.display(), file.display()
    )]
    Checksum {
        /// The library.
        path: PathBuf,
        /// The file beside it.
        file: PathBuf,
    },
    /// It ends whatever process loads it.
    #[error(
        "`{}` ended the process that tried to load it ({end}); build or install it again",
        path.display()
    )]
    Deadly {
        /// The file.
        path: PathBuf,
        /// The signal or exit code.
        end: String,
    },
    /// The end of the file is missing.
    #[error(
        "`{}` is truncated: it has {has} bytes and needs at least {needs}; build or install it \
         again, under another name that is renamed at the end",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The length that its headers speak of, in bytes.
        needs: u64,
        /// Its length, in bytes.
        has: u64,
    },
    /// Built for another machine.
    #[error("`{}` is made for {found} and not for {wanted}; build it for this machine", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// Its machine.
        found: String,
        /// The daemon's machine.
        wanted: String,
    },
    /// A library that this one needs is not there, or not usable.
    #[error(
        "`{}` needs another library that cannot be loaded ({reason}); install that, `ldd {}` \
         shows which are missing",
        path.display(), path.display()
    )]
    MissingDependency {
        /// The file.
        path: PathBuf,
        /// The linker's words.
        reason: String,
    },
    /// It calls a function that no library has.
    #[error(
        "`{}` uses a symbol that is nowhere defined ({reason}); link it with the library that has it",
        path.display()
    )]
    UnresolvedSymbol {
        /// The file.
        path: PathBuf,
        /// The linker's words.
        reason: String,
    },
    /// The dynamic linker refuses it for another reason.
    #[error("`{}` cannot be loaded ({reason}); build it again on this system", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The linker's words.
        reason: String,
    },
    /// A library, but no backend.
    #[error(
        "`{}` exports no agentd backend; use `export_backend!` once, in a crate of the type `cdylib`",
        path.display()
    )]
    NotABackend {
        /// The file.
        path: PathBuf,
    },
    /// Its root symbol is not what this daemon understands.
    #[error(
        "`{}` is made with another plugin framework ({reason}); build it again with \
         agentd-plugin-api {}",
        path.display(), crate_version()
    )]
    Framework {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Its compiler passes arguments in another way.
    #[error("`{}` is made by an incompatible compiler; build it again for this system", path.display())]
    Compiler {
        /// The file.
        path: PathBuf,
    },
    /// Another major version of the API.
    #[error(
        "`{}` is made for version {library} of agentd-plugin-api and this daemon has {}; build it \
         again with that",
        path.display(), crate_version()
    )]
    ApiVersion {
        /// The file.
        path: PathBuf,
        /// Its version of the API.
        library: String,
    },
    /// The same version with other types. The log has all differences at the level `debug`.
    #[error(
        "`{}` was built from types that differ from this daemon's ({summary}); build it again \
         with agentd-plugin-api {}",
        path.display(), crate_version()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// The first difference.
        summary: String,
    },
    /// It panicked before it was connected.
    #[error("`{}` panicked while it was loaded ({reason}); report this to its author", path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
        /// The panic's text.
        reason: String,
    },
    /// What it says of itself makes no sense.
    #[error("`{}` has an unusable manifest ({reason}); report this to its author", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is another backend than the file's name says.
    #[error(
        "`{}` holds the backend `{manifest}`; rename it to `libagentd_backend_{manifest}{}` or \
         install the right file",
        path.display(), super::name::SUFFIX
    )]
    NameMismatch {
        /// The file.
        path: PathBuf,
        /// The name in its manifest.
        manifest: String,
    },
}

impl LoadError {
    pub(super) fn unknown_name(value: &OsStr) -> Self {
        LoadError::UnknownName {
            setting: "AGENTD_BACKEND",
            well_formed: super::name::is_well_formed(value),
            value: line(&value.to_string_lossy()),
            found: Vec::new(),
            searched: Vec::new(),
        }
    }

    /// The same for a name in another variable.
    #[must_use]
    pub(crate) fn in_setting(mut self, name: &'static str) -> Self {
        if let LoadError::UnknownName { setting, .. } = &mut self {
            *setting = name;
        }
        self
    }

    /// Adds what a [`LoadError::UnknownName`] could have named instead.
    #[must_use]
    pub(super) fn listing(mut self, search: &SearchPath) -> Self {
        if let LoadError::UnknownName {
            found, searched, ..
        } = &mut self
        {
            *found = search.names().into_iter().map(|file| file.name).collect();
            found.sort();
            found.dedup();
            *searched = search.directories().to_vec();
        }
        self
    }

    /// Lines for the user beside the error itself; each is shown after `hint: `.
    pub fn hints(&self) -> Vec<String> {
        match self {
            LoadError::UnknownName {
                well_formed,
                found,
                searched,
                ..
            } => {
                let mut hints = Vec::new();
                if !well_formed {
                    hints.push(format!("a backend's name has the form {NAME_RULE}"));
                }
                if !found.is_empty() {
                    let found: Vec<&str> = found.iter().map(BackendName::as_str).collect();
                    hints.push(format!("found: {}", found.join(", ")));
                }
                hints.extend(searched_hint(searched));
                hints
            }
            LoadError::Missing { name, searched } => {
                let mut hints = vec![format!(
                    "`cargo build` builds all of them, `{}` only this one",
                    build_command(name)
                )];
                hints.extend(searched_hint(searched));
                hints
            }
            LoadError::Untrusted { .. } => {
                vec!["AGENTD_PLUGIN_TRUST=off loads libraries that others can change".to_owned()]
            }
            LoadError::Layout { .. } => {
                vec!["RUST_LOG=debug shows every difference".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

const LIBRARY_PATTERN: &str = if cfg!(target_os = "macos") {
    "libagentd_backend_<name>.dylib"
} else {
    "libagentd_backend_<name>.so"
};

fn searched_hint(searched: &[PathBuf]) -> Option<String> {
    let directories: Vec<String> = searched
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    (!directories.is_empty()).then(|| format!("searched: {}", directories.join(", ")))
}

fn build_command(name: &BackendName) -> String {
    format!("cargo build -p agentd-backend-{name}")
}

fn subject(library: &Path, culprit: &Path) -> String {
    if library == culprit {
        "it".to_owned()
    } else {
        format!("the directory `{}`", culprit.display())
    }
}

fn crate_version() -> &'static str {
    agentd_plugin_api::API_VERSION
}
