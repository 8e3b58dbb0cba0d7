use std::fmt;
use std::path::{Path, PathBuf};

use super::library::Library;
use super::trust::canonical;
use super::{BackendName, LoadError, SearchPath, Trust, checksum, elf};

/// What a library passes on its way, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The file is named like a backend.
    Name,
    /// Only those can change it who may.
    Trust,
    /// It is a whole library for this machine.
    File,
    /// The dynamic linker takes it. Its code runs from here on.
    Open,
    /// It is made for this daemon's version of the API.
    Interface,
    /// It says what it is, and its name is the file's.
    Manifest,
}

/// How one stage went: what was found, or why it is the last.
pub type Step = (Stage, Result<String, LoadError>);

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Name => "name",
            Stage::Trust => "trust",
            Stage::File => "file",
            Stage::Open => "open",
            Stage::Interface => "interface",
            Stage::Manifest => "manifest",
        })
    }
}

/// Loads a backend from the first of `search`'s directories that has its file.
pub fn load(name: &BackendName, search: &SearchPath, trust: Trust) -> Result<Library, LoadError> {
    let path = search.find(name)?;
    if trust == Trust::Off {
        tracing::warn!(
            "AGENTD_PLUGIN_TRUST is off: `{}` is loaded whoever can change it",
            path.display()
        );
    }
    let library = run(&path, trust, |stage, found| {
        tracing::debug!(%stage, "{found}");
    })
    .map_err(|(_, error)| error)?;
    tracing::info!(
        "loaded the backend `{name}` {} from `{}`",
        library.manifest.version,
        library.path.display()
    );
    Ok(library)
}

/// Loads this very file, wherever it is.
pub fn load_file(file: &Path, trust: Trust) -> Result<Library, LoadError> {
    run(file, trust, |_, _| {}).map_err(|(_, error)| error)
}

/// Loads `file` as far as it goes. The last step is the only one that may have failed.
pub fn check(file: &Path, trust: Trust) -> Vec<Step> {
    let mut steps = Vec::new();
    let end = run(file, trust, |stage, found| steps.push((stage, Ok(found))));
    if let Err((stage, error)) = end {
        steps.push((stage, Err(error)));
    }
    steps
}

/// Looks at `file` and runs none of its code: whether it is named like a backend, only those can change it who
/// may, and it is a whole library for this machine.
pub fn inspect(file: &Path, trust: Trust) -> Result<(), LoadError> {
    let inspected = unopened(file, trust, &mut |_, _| {});
    inspected.map(drop).map_err(|(_, error)| error)
}

fn at(stage: Stage) -> impl FnOnce(LoadError) -> (Stage, LoadError) {
    move |error| (stage, error)
}

/// The stages before its code runs.
fn unopened(
    file: &Path,
    trust: Trust,
    passed: &mut impl FnMut(Stage, String),
) -> Result<(BackendName, PathBuf), (Stage, LoadError)> {
    let name = BackendName::of_file(file).ok_or_else(|| {
        let path = file.to_owned();
        (Stage::Name, LoadError::FileName { path })
    })?;
    passed(Stage::Name, name.to_string());

    let path = canonical(file).map_err(at(Stage::Trust))?;
    trust.check(&path).map_err(at(Stage::Trust))?;
    passed(
        Stage::Trust,
        match trust {
            Trust::Strict => format!("{} and all above it", path.display()),
            Trust::Off => "switched off".to_owned(),
        },
    );

    let machine = elf::check(&path).map_err(at(Stage::File))?;
    checksum::check(&path).map_err(at(Stage::File))?;
    passed(Stage::File, machine);
    Ok((name, path))
}

fn run(
    file: &Path,
    trust: Trust,
    mut passed: impl FnMut(Stage, String),
) -> Result<Library, (Stage, LoadError)> {
    let (name, path) = unopened(file, trust, &mut passed)?;

    let header = Library::open(&path).map_err(at(Stage::Open))?;
    passed(Stage::Open, path.display().to_string());

    let module = Library::interface(&path, header).map_err(at(Stage::Interface))?;
    passed(Stage::Interface, module.version().to_owned());

    let library = Library::new(path, &name, module).map_err(at(Stage::Manifest))?;
    let manifest = &library.manifest;
    passed(
        Stage::Manifest,
        format!("{} {}", manifest.name, manifest.version),
    );
    Ok(library)
}
