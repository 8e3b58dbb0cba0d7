//! Which directories an agent may see.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use agentd_plugin_api::prelude::*;
use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{getegid, geteuid};

/// Where the working directory appears in the container.
pub const WORKSPACE: &str = "/workspace";

/// Sockets that give the machine away, and where an engine keeps what it is trusted for and other agents' secrets.
const ENGINES: [&str; 5] = [
    "/var/run/docker.sock",
    "/run/docker",
    "/run/containerd",
    "/var/lib/docker/swarm",
    "/var/lib/docker/containers",
];

/// What no agent may see. Decided by device and inode, so that neither a link nor a bind mount
/// leads around it.
pub struct Guarded(Vec<Private>);

struct Private {
    path: PathBuf,
    /// None where there is nothing.
    itself: Option<Object>,
    /// It, and everything above it.
    above: Vec<Object>,
}

/// One file or directory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Object {
    device: u64,
    inode: u64,
}

impl Object {
    fn at(path: &Path) -> Option<Object> {
        fs::metadata(path).ok().as_ref().map(Object::of)
    }

    fn of(metadata: &Metadata) -> Object {
        Object {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Guarded {
    /// Guards what engines have for themselves and what is `private`, and with them `/`, which is above them. They need
    /// not be there.
    pub fn new<'a>(
        socket: Option<&'a Path>,
        private: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Guarded {
        let always = ENGINES.map(Path::new).into_iter().chain(socket);
        let paths = always.chain(private.into_iter().map(PathBuf::as_path));
        let guarded = paths.map(|path| Private {
            path: path.to_owned(),
            itself: Object::at(path),
            above: resolve(path).ancestors().filter_map(Object::at).collect(),
        });
        Guarded(guarded.collect())
    }

    /// Looks at a directory that is to be mounted, or refuses it. `what` names it to the user.
    pub fn check(&self, what: &str, path: &Path) -> Result<Source> {
        if !path.is_absolute() {
            return Err(refused(what, format!("{} is not absolute", path.display())));
        }
        let unusable = |error| refused(what, format!("{}: {error}", path.display()));
        let source = Source::open(path).map_err(unusable)?;
        let object = Object::of(&source.metadata);
        let all: Vec<Object> = source.path.ancestors().filter_map(Object::at).collect();
        if all.first() != Some(&object) {
            let why = format!(
                "{} was replaced while the agent was started",
                path.display()
            );
            return Err(
                refused(what, why).hint("choose a directory above which nobody else can write")
            );
        }
        let exposed = |private: &&Private| {
            let itself = private.itself.as_ref();
            private.above.contains(&object) || itself.is_some_and(|itself| all.contains(itself))
        };
        match self.0.iter().find(exposed) {
            None => Ok(source),
            Some(private) => {
                let (path, shown) = (path.display(), private.path.display());
                let why = format!("{path} would show `{shown}`, which no agent may see");
                Err(refused(what, why)
                    .hint("choose a directory that holds only what the agent works on"))
            }
        }
    }
}

/// What is to be mounted, as it was looked at.
#[derive(Debug)]
pub struct Source {
    /// Without links.
    pub path: PathBuf,
    /// Its owner and mode.
    pub metadata: Metadata,
}

impl Source {
    /// Whatever the path leads to a moment later, this is one thing and where that is.
    pub fn open(path: &Path) -> io::Result<Source> {
        let file = File::from(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        Ok(Source {
            path: fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?,
            metadata: file.metadata()?,
        })
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
pub fn check_target(target: &str) -> Result<()> {
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

/// Shows a directory of this machine at `target`.
pub fn bind(source: &Path, target: &str, read_only: bool) -> Result<Mount> {
    let source = source
        .to_str()
        .ok_or_else(|| Error::refused(format!("{} is not UTF-8", source.display())))?;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// The user of an agent that works in this directory: files that it makes then belong to whom they should.
pub fn owner(working_dir: &Source) -> Result<String> {
    let metadata = &working_dir.metadata;
    match metadata.uid() {
        0 => Err(Error::refused(format!(
            "the working directory {} belongs to root, and an agent does not run as root unasked",
            working_dir.path.display()
        ))
        .hint("set `options.user` to the `uid:gid` that the agent is to run as")),
        uid => Ok(format!("{uid}:{}", metadata.gid())),
    }
}

/// The user of an agent whose directory is not on this machine: that of this process.
pub fn own_user() -> Result<String> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        let why = "the service is root, and an agent does not run as root unasked";
        return Err(Error::refused(why)
            .hint("set `options.user` to the `uid:gid` that the agent is to run as"));
    }
    Ok(format!("{}:{}", user.as_raw(), group.as_raw()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// `state/`, `recordings/`, `keys/tls` and `run/docker.sock` in a directory of their own, and `work/`.
    fn machine() -> (tempfile::TempDir, PathBuf, Guarded) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["state/inner", "run", "work/deep", "recordings/demo", "keys"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let socket = root.join("run/docker.sock");
        drop(UnixListener::bind(&socket).unwrap());
        fs::write(root.join("keys/tls"), "").unwrap();
        let private = ["state", "recordings", "keys/tls"].map(|name| root.join(name));
        let guarded = Guarded::new(Some(&socket), &private);
        (directory, root, guarded)
    }

    /// Attack: mounts of `/`, the Docker socket, the state directory, recordings or a key, by links,
    /// parents, `/proc`, or from inside. Then: refused.
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
            root.join("recordings"),
            root.join("recordings/demo"),
            root.join("keys"),
            root.join("keys/tls"),
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
            guarded.check("mounts", &root.join("short")).unwrap().path,
            root.join("work/deep")
        );
        assert!(guarded.check("mounts", &root.join("absent")).is_err());
        assert!(guarded.check("mounts", Path::new("work")).is_err());
    }

    #[test]
    fn a_state_directory_that_does_not_exist_yet_is_guarded_above() {
        let (_directory, root, _) = machine();
        let guarded = Guarded::new(None, &[root.join("work/later/state")]);
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
