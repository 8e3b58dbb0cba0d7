use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSymbol};

use crate::cargo::{Profile, build, out_dir};
use crate::{Result, tool};

/// The backends that agentd offers by name. The host has its own list, which decides what users see;
/// `tidy` holds the two together.
pub const PLUGINS: [&str; 3] = ["tmux", "docker", "pty"];

/// Those that come with it and are found like anybody's own.
const DROP_INS: [&str; 2] = ["sandbox", "swarm"];

/// How abi_stable calls the root symbol of a library.
const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// Builds the libraries, checks them, and installs them where that is asked for.
pub fn run(profile: impl Into<Profile>, dest: Option<&Path>) -> Result {
    let profile = profile.into();
    let packages = packages();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    build(profile, &packages)?;
    check(profile)?;
    let Some(dest) = dest else { return Ok(()) };
    let mut libraries = libraries(profile);
    libraries.try_for_each(|library| install(&library, dest))
}

/// Whether each library that was built exports what a host looks for, and nothing else.
pub fn check(profile: impl Into<Profile>) -> Result {
    libraries(profile.into()).try_for_each(|library| check_exports(&library))
}

/// The packages of the libraries.
pub fn packages() -> Vec<String> {
    let plugins = PLUGINS.into_iter().chain(DROP_INS);
    plugins
        .map(|plugin| format!("agentd-backend-{plugin}"))
        .collect()
}

fn libraries(profile: Profile) -> impl Iterator<Item = PathBuf> {
    let plugins = PLUGINS.into_iter().chain(DROP_INS);
    plugins.map(move |plugin| library(profile, plugin))
}

/// The library of a plugin where cargo has put it.
pub fn library(profile: impl Into<Profile>, plugin: &str) -> PathBuf {
    let extension = std::env::consts::DLL_EXTENSION;
    out_dir(profile).join(format!("libagentd_backend_{plugin}.{extension}"))
}

/// A backend exports its root symbol and nothing else.
fn check_exports(library: &Path) -> Result {
    let failed = |what: &str| format!("`{}` {what}", library.display());
    let bytes = fs::read(library).map_err(|error| failed(&format!("cannot be read: {error}")))?;
    let file = object::File::parse(&*bytes)
        .map_err(|error| failed(&format!("is not a library: {error}")))?;
    let exported: Vec<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    match exported.as_slice() {
        [ROOT_SYMBOL] => Ok(()),
        [] => Err(failed(
            "exports no root symbol: is `export_backend!` in it?",
        )),
        others => Err(failed(&format!("exports {others:?}"))),
    }
}

/// A daemon that runs may have the old file open, so it is replaced and never written to.
fn install(library: &Path, dest: &Path) -> Result {
    let name = library.file_name().unwrap_or_default();
    let install = || {
        fs::create_dir_all(dest)?;
        let temporary = dest.join(format!(".{}.{}", name.display(), std::process::id()));
        let mut file = File::create(&temporary)?;
        file.write_all(&fs::read(library)?)?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        file.sync_all()?;
        // Without a checksum for a moment rather than with that of the other file.
        let checksum = dest.join(format!("{}.sha256", name.display()));
        match fs::remove_file(&checksum) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&temporary, dest.join(name))?;
        let sum = Command::new("sha256sum")
            .arg(name)
            .current_dir(dest)
            .output()?;
        match sum.status.success() {
            true => fs::write(checksum, sum.stdout),
            false => Err(std::io::Error::other(String::from_utf8_lossy(&sum.stderr))),
        }
    };
    let installed: std::io::Result<()> = install();
    installed.map_err(|error| format!("installing into `{}`: {error}", dest.display()))?;
    tool::say(&format!("installed {}", dest.join(name).display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_library_is_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("lib.so");
        let dest = directory.path().join("plugins");
        fs::write(&library, "old").unwrap();
        install(&library, &dest).unwrap();
        let mut open = File::open(dest.join("lib.so")).unwrap();
        fs::write(&library, "new").unwrap();
        install(&library, &dest).unwrap();
        let mut seen = String::new();
        std::io::Read::read_to_string(&mut open, &mut seen).unwrap();
        assert_eq!(seen, "old");
        assert_eq!(fs::read_to_string(dest.join("lib.so")).unwrap(), "new");
        let checksum = fs::read_to_string(dest.join("lib.so.sha256")).unwrap();
        assert!(checksum.ends_with("  lib.so\n"), "{checksum}");
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 2);
    }

    #[test]
    fn what_exports_no_root_symbol_is_refused() {
        let error = check_exports(&std::env::current_exe().unwrap()).unwrap_err();
        assert!(error.contains("export"), "{error}");
    }
}
