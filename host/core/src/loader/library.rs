use std::error::Error as _;
use std::path::{Path, PathBuf};

use agentd_plugin_api::abi::Header;
use agentd_plugin_api::abi::host::{HeaderError, Module, root_symbol};
use agentd_plugin_api::{ErrorKind, Manifest};
use libloading::os::unix;

use super::{BackendName, LoadError, manifest};
use crate::text::{line, quoted};

/// A loaded library. It is never unloaded: futures, wakers, threads and error texts
/// point into it.
#[derive(Debug)]
pub struct Library {
    /// Where it is, without links.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it exports.
    pub module: Module,
}

impl Library {
    /// Opens the library and reads its root symbol.
    ///
    /// By its path and not as `/proc/self/fd/N`: that would close the gap between the checks and
    /// this, but the linker knows libraries by their path, so `$ORIGIN`, debuggers and a second
    /// library under the same number would all be misled. [`Trust`](super::Trust) says why the
    /// gap is none.
    pub(super) fn open(path: &Path) -> Result<Header, LoadError> {
        // SAFETY: loading runs the library's initialisers. Whoever may change the file is trusted
        // with this process.
        let opened = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) };
        let library = opened.map_err(|error| refusal(path, &reason(&error)))?;
        let header = {
            // SAFETY: only our macro makes a symbol of this name, and with this type. Should it be
            // something else, the header's first bytes give it away.
            let symbol = unsafe { library.get::<Header>(root_symbol()) };
            symbol.map(|symbol| *symbol).map_err(|_| {
                let path = path.to_owned();
                LoadError::NotABackend { path }
            })
        };
        // Never unloaded, even if it is not a backend: its initialisers may have started threads.
        std::mem::forget(library);
        header
    }

    /// Checks version and types, and initialises the library.
    pub(super) fn interface(path: &Path, header: Header) -> Result<Module, LoadError> {
        // SAFETY: the header comes from `open`, which never unloads.
        let module = unsafe { Module::from_header(header) };
        let path = path.to_owned();
        module.map_err(|error| match error {
            HeaderError::Framework(reason) => LoadError::Framework {
                reason: quoted(&reason),
                path,
            },
            HeaderError::Compiler => LoadError::Compiler { path },
            HeaderError::ApiVersion { library } => LoadError::ApiVersion {
                library: quoted(&library),
                path,
            },
            HeaderError::Layout { summary, detail } => {
                tracing::debug!("the types of `{}` differ: {detail}", path.display());
                LoadError::Layout {
                    summary: line(&summary),
                    path,
                }
            }
            HeaderError::Panicked => LoadError::Panicked {
                path,
                reason: "without a text".to_owned(),
            },
        })
    }

    /// Asks the library what it is; `name` is what its file says.
    pub(super) fn new(
        path: PathBuf,
        name: &BackendName,
        module: Module,
    ) -> Result<Self, LoadError> {
        let manifest = match module.manifest() {
            Ok(manifest) => manifest,
            Err(error) => {
                let reason = line(&error.message);
                return Err(match error.kind {
                    ErrorKind::Panicked => LoadError::Panicked { path, reason },
                    _ => LoadError::Manifest { path, reason },
                });
            }
        };
        if manifest.name != name.as_str() {
            return Err(LoadError::NameMismatch {
                path,
                manifest: quoted(&manifest.name),
            });
        }
        if let Err(reason) = manifest::check(&manifest) {
            return Err(LoadError::Manifest { path, reason });
        }
        Ok(Library {
            path,
            manifest,
            module,
        })
    }
}

/// libloading's own text is only "dlopen failed"; the linker's words are its source.
fn reason(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Sorts the linker's error by its text, since it has no code: as glibc and musl word it.
fn refusal(path: &Path, reason: &str) -> LoadError {
    let own = format!("{}: ", path.display());
    let reason = reason.strip_prefix(&own).unwrap_or(reason).to_owned();
    let path = path.to_owned();
    let is_of = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    if is_of(&["undefined symbol", "symbol not found"]) {
        LoadError::UnresolvedSymbol { path, reason }
    } else if is_of(&[
        "cannot open shared object file",
        "Error loading shared library",
    ]) {
        LoadError::MissingDependency { path, reason }
    } else {
        LoadError::Refused { path, reason }
    }
}
