use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use agentd_plugin_api::prelude::*;

/// Where the working directory appears in the container.
pub(crate) const WORKSPACE: &str = "/workspace";

/// What no agent may see. Decided by device and inode, so that neither a link nor a bind mount
/// leads around it.
pub(crate) struct Guarded {
    /// The guarded things and everything above them, `/` included.
    above: Vec<Object>,
    state_dir: Option<Object>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Object {
    device: u64,
    inode: u64,
}

impl Object {
    fn at(path: &Path) -> Option<Object> {
        let metadata = fs::metadata(path).ok()?;
        Some(Object {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Guarded {
    pub(crate) fn new(socket: Option<&Path>, state_dir: &Path) -> Guarded {
        let sockets = [Path::new("/var/run/docker.sock")]
            .into_iter()
            .chain(socket);
        let above = sockets
            .chain([state_dir])
            .flat_map(|path| {
                resolve(path)
                    .ancestors()
                    .filter_map(Object::at)
                    .collect::<Vec<_>>()
            })
            .chain(Object::at(Path::new("/")))
            .collect();
        Guarded {
            above,
            state_dir: Object::at(state_dir),
        }
    }

    /// Resolves a directory that is to be mounted, or refuses it. `what` names it to the user.
    pub(crate) fn check(&self, what: &str, path: &Path) -> Result<PathBuf> {
        if !path.is_absolute() {
            return Err(refused(what, format!("{} is not absolute", path.display())));
        }
        let resolved = fs::canonicalize(path)
            .map_err(|error| refused(what, format!("{}: {error}", path.display())))?;
        let object = Object::at(&resolved);
        let exposes = object.is_none_or(|object| self.above.contains(&object));
        let inside = resolved
            .ancestors()
            .any(|above| self.state_dir.is_some() && Object::at(above) == self.state_dir);
        if exposes || inside {
            return Err(refused(
                what,
                format!(
                    "{} would show `/`, the Docker socket or the state directory to the agent",
                    path.display()
                ),
            )
            .hint("choose a directory that holds only what the agent works on"));
        }
        Ok(resolved)
    }
}

/// Follows links as far as the path exists.
fn resolve(path: &Path) -> PathBuf {
    if let Ok(resolved) = fs::canonicalize(path) {
        return resolved;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Refuses a place in the container that cannot be mounted at.
pub(crate) fn check_target(target: &str) -> Result<()> {
    let path = Path::new(target);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let why = if !path.is_absolute() || !plain || path.parent().is_none() {
        "is not an absolute path below `/`"
    } else if path == Path::new(WORKSPACE) {
        "is where the working directory goes"
    } else if ["/proc", "/sys", "/dev"]
        .iter()
        .any(|kernel| path.starts_with(kernel))
    {
        "belongs to the kernel"
    } else {
        return Ok(());
    };
    Err(refused("mounts", format!("`{target}` {why}")))
}

fn refused(what: &str, why: String) -> Error {
    Error::refused(format!("`{what}`: {why}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// `state/` and `run/docker.sock` in a directory of their own, and `work/`.
    fn machine() -> (tempfile::TempDir, PathBuf, Guarded) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["state/inner", "run", "work/deep"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let socket = root.join("run/docker.sock");
        drop(UnixListener::bind(&socket).unwrap());
        let guarded = Guarded::new(Some(&socket), &root.join("state"));
        (directory, root, guarded)
    }

    /// Attack: mounts of `/`, the Docker socket or the state directory, by links, parents, `/proc`, or
    /// from inside. Then: refused.
    #[test]
    fn mounts_that_contain_a_guarded_path_are_refused() {
        let (_directory, root, guarded) = machine();
        symlink(root.join("state"), root.join("link")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        for path in [
            PathBuf::from("/"),
            PathBuf::from("/tmp/.."),
            PathBuf::from("/proc/self/root"),
            root.clone(),
            root.join("state"),
            root.join("state/inner"),
            root.join("run"),
            root.join("run/docker.sock"),
            root.join("link"),
            root.join("link/inner"),
            root.join("slash"),
            root.join("work/../state"),
        ] {
            let error = guarded
                .check("mounts", &path)
                .expect_err(&path.display().to_string());
            assert_eq!(error.kind, ErrorKind::Refused, "{}", path.display());
            assert!(error.message.contains("would show"), "{}", error.message);
        }
    }

    #[test]
    fn the_default_socket_is_guarded_even_when_another_is_used() {
        let (_directory, _root, guarded) = machine();
        let run = Path::new("/var/run");
        assert!(!run.exists() || guarded.check("mounts", run).is_err());
    }

    #[test]
    fn other_directories_are_resolved() {
        let (_directory, root, guarded) = machine();
        symlink(root.join("work/deep"), root.join("short")).unwrap();
        assert_eq!(
            guarded.check("mounts", &root.join("short")).unwrap(),
            root.join("work/deep")
        );
        assert!(guarded.check("mounts", &root.join("absent")).is_err());
        assert!(guarded.check("mounts", Path::new("work")).is_err());
    }

    #[test]
    fn a_state_directory_that_does_not_exist_yet_is_guarded_above() {
        let (_directory, root, _) = machine();
        let guarded = Guarded::new(None, &root.join("work/later/state"));
        assert!(guarded.check("mounts", &root.join("work")).is_err());
        assert!(guarded.check("mounts", &root.join("work/deep")).is_ok());
    }

    /// Attack: mounts over `/`, the workspace, or what is the kernel's. Then: refused.
    #[test]
    fn targets() {
        for target in [
            "",
            "data",
            "/",
            "/a/../b",
            "/workspace",
            "/workspace/",
            "/proc/sys",
            "/dev",
        ] {
            assert!(check_target(target).is_err(), "{target}");
        }
        for target in ["/data", "/a:b", "/workspace/cache"] {
            assert!(check_target(target).is_ok(), "{target}");
        }
    }
}
