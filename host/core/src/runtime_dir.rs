use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agentd_api::runtime_dir::{check_private, in_runtime_dir};
use rustix::process::geteuid;

/// The directory for sockets in the user's runtime directory, made where there is none. An error is a
/// reason not to use it: it, or the one that it is in, is not this user's alone, as when a service was
/// started with another user's environment by `sudo`.
pub fn prepare(runtime_dir: &Path) -> io::Result<PathBuf> {
    let unusable =
        |path: &Path, reason: &str| io::Error::other(format!("`{}` {reason}", path.display()));
    if !runtime_dir.is_absolute() {
        return Err(unusable(runtime_dir, "is not absolute"));
    }
    let user = geteuid().as_raw();
    check_private(runtime_dir, user)?;
    let own = in_runtime_dir(runtime_dir);
    match DirBuilder::new().mode(0o700).create(&own) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(&own, &error.to_string())),
    }
    check_private(&own, user)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    /// Attack: the runtime directory is another user's, or open to others. Then: it is not used.
    #[test]
    fn only_a_private_directory_of_this_user_is_used() {
        let runtime = tempfile::tempdir().unwrap();
        let runtime = runtime.path();
        fs::set_permissions(runtime, Permissions::from_mode(0o700)).unwrap();
        let own = prepare(runtime).unwrap();
        assert_eq!(own, runtime.join("agentd"));
        assert_eq!(own.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(prepare(runtime).unwrap(), own);

        for (path, mode) in [(&*own, 0o755), (&*own, 0o770), (runtime, 0o755)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            prepare(runtime).unwrap_err();
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        if geteuid().is_root() {
            chown(runtime, Some(65_123), None).unwrap();
            prepare(runtime).unwrap_err();
            chown(runtime, Some(0), None).unwrap();
        }
        fs::rename(&own, runtime.join("elsewhere")).unwrap();
        symlink("elsewhere", &own).unwrap();
        prepare(runtime).unwrap_err();
        fs::remove_file(&own).unwrap();
        fs::write(&own, "").unwrap();
        prepare(runtime).unwrap_err();
        prepare(Path::new("relative")).unwrap_err();
        prepare(Path::new("/nowhere")).unwrap_err();
    }
}
