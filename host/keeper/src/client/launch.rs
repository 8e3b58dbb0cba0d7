use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd_process::environment::{INSTANCE_MARKER, SESSION_MARKER};
use agentd_process::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_to, listen,
    socket_with, socketpair,
};
use rustix::rand::{GetRandomFlags, getrandom};

use super::link::Link;
use super::{Found, Keeper, Place, Readers};
use crate::protocol::{Answer, Frame, OLDEST, Request, TAKE, TAKEN, VERSION};
use crate::server;
use crate::server::process::{BACKLOG, VERB};
use crate::server::reading::Reading;
use crate::socket::{self, Received};

/// A keeper answers so soon, or is taken for one that is stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// The extension of a socket at which nobody listens yet.
const UNFINISHED: &str = "new";

pub fn launch(place: &Place, readers: &Arc<Readers>) -> Result<Keeper> {
    match place {
        Place::Thread(reaper) => {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
            let (ours, theirs) = pair.map_err(io::Error::from)?;
            let reading = server::in_thread(reaper.clone(), theirs, String::new())?;
            take(ours, readers, Some(reading))
        }
        Place::Process { program, directory } => {
            let socket = execute(program, directory)?;
            connect(&socket, readers)
        }
    }
}

/// Removes the sockets of daemons that were killed before anybody listened there, unless a daemon is
/// launching a keeper in `directory` at this moment.
pub fn remove_unfinished(directory: &Path) -> io::Result<()> {
    let nobody_launches = File::open(directory)?;
    match flock(&nobody_launches, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

pub fn running(directory: &Path) -> Result<Vec<Found>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    if let Err(error) = remove_unfinished(directory) {
        tracing::warn!(%error, "what is left in {}", directory.display());
    }
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "sock") {
            continue;
        }
        let socket = match dial(&path) {
            Ok(socket) => socket,
            Err(Errno::CONNREFUSED) => {
                // Its keeper was killed.
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(path.with_extension("log"));
                continue;
            }
            // It has just ended.
            Err(Errno::NOENT) => continue,
            Err(error) => {
                tracing::warn!(%error, "the keeper at {}", path.display());
                found.push(silent(path)?);
                continue;
            }
        };
        match hello(&socket, 0) {
            Ok((hello, _)) => found.push(Found {
                socket: path,
                pid: hello.pid,
                build: hello.build,
                sessions: hello.sessions,
                owned: hello.flags & TAKEN != 0,
            }),
            Err(error) => {
                tracing::warn!(%error, "the keeper at {}", path.display());
                found.push(silent(path)?);
            }
        }
    }
    Ok(found)
}

/// A keeper that does not answer, found by its arguments, among the processes of this user.
fn silent(socket: PathBuf) -> io::Result<Found> {
    let user = rustix::process::geteuid().as_raw();
    let is_own = |process: &Path| fs::metadata(process).is_ok_and(|of| of.uid() == user);
    let is_keeper = |arguments: Vec<u8>| {
        let mut arguments = arguments.split(|byte| *byte == 0).skip(1);
        arguments.next() == Some(VERB.as_bytes())
            && arguments.next() == Some(socket.as_os_str().as_bytes())
    };
    let mut pid = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(number) = number
            && is_own(&entry.path())
            && fs::read(entry.path().join("cmdline")).is_ok_and(is_keeper)
        {
            pid = number;
        }
    }
    Ok(Found {
        socket,
        pid,
        build: String::new(),
        sessions: 0,
        owned: false,
    })
}

pub fn connect(path: &Path, readers: &Arc<Readers>) -> Result<Keeper> {
    take(dial(path).map_err(io::Error::from)?, readers, None)
}

/// What a keeper says about itself.
struct Hello {
    versions: std::ops::RangeInclusive<u32>,
    pid: u32,
    flags: u32,
    sessions: u32,
    build: String,
}

fn take(socket: OwnedFd, readers: &Arc<Readers>, reading: Option<Arc<Reading>>) -> Result<Keeper> {
    let (hello, descriptors) = hello(&socket, TAKE)?;
    let (first, last) = (hello.versions.start(), hello.versions.end());
    if *first > VERSION || *last < OLDEST {
        let speaks = format!(
            "the keeper {} speaks the versions {first} to {last}",
            hello.pid
        );
        return Err(Error::unavailable(speaks).hint(format!(
            "this service speaks {OLDEST} to {VERSION}; end its agents with one that does"
        )));
    }
    let room = descriptors.into_iter().next();
    let room = room.ok_or_else(|| Error::unavailable("no descriptor is free for a keeper"))?;
    let readers = readers.clone();
    let link = Link::new(socket, hello.pid, hello.build, room, readers, reading)?;
    Ok(Keeper { link })
}

/// Asks for a keeper's name, and for the keeper itself with `TAKE`.
fn hello(socket: &OwnedFd, flags: u32) -> Result<(Hello, Vec<OwnedFd>)> {
    if !socket::is_own(socket) {
        return Err(Error::refused("the keeper belongs to another user"));
    }
    let request = Request::Hello {
        version: VERSION,
        oldest: OLDEST,
        flags,
    };
    socket::send(socket, &request.encode(1), &[])?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = socket::buffer();
    loop {
        match socket::receive(socket, &mut buffer) {
            Ok(Received::Frame(length, descriptors)) => {
                let frame = Frame::parse(&buffer[..length]);
                let answer = frame.and_then(|frame| Answer::decode(&frame));
                return match answer {
                    Some(Ok(Answer::Hello {
                        version,
                        oldest,
                        pid,
                        flags,
                        sessions,
                        build,
                    })) => Ok((
                        Hello {
                            versions: oldest..=version,
                            pid,
                            flags,
                            sessions,
                            build,
                        },
                        descriptors,
                    )),
                    Some(Err(error)) => Err(error),
                    _ => Err(Error::internal("a keeper does not say what it is")),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                let mut watched = [PollFd::new(socket, PollFlags::IN)];
                let timeout = Timespec::try_from(left).unwrap_or_default();
                match poll(&mut watched, Some(&timeout)) {
                    Ok(0) => {
                        let silent = "a keeper does not answer";
                        return Err(Error::unavailable(silent)
                            .hint("is it stopped? `kill -CONT` has it go on"));
                    }
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(io::Error::from(error).into()),
                }
            }
            Ok(_) | Err(_) => return Err(Error::unavailable("the keeper has ended")),
        }
    }
}

/// Connects to a keeper's socket.
fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let (_directory, address) = address(path)?;
    let socket = new_socket()?;
    connect_to(&socket, &address)?;
    Ok(socket)
}

fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The address of a socket however long its path is: 107 bytes are all that fit into an address, so
/// the directory is named by a descriptor, which has to be open meanwhile.
fn address(path: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let descriptor = directory.as_fd().as_raw_fd();
    let short = Path::new("/proc/self/fd")
        .join(descriptor.to_string())
        .join(name);
    Ok((directory, SocketAddrUnix::new(short)?))
}

/// Executes a keeper: the path of its socket, at which it listens already.
fn execute(program: &Path, directory: &Path) -> Result<PathBuf> {
    private(directory)?;
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(io::Error::from)?;
    let name = format!("{:016x}", u64::from_ne_bytes(random));
    // A keeper's own working directory is another one.
    let path = std::path::absolute(directory.join(name))?.with_extension("sock");
    let unfinished = path.with_extension(UNFINISHED);
    let launching = File::open(directory)?;
    flock(&launching, FlockOperation::LockShared).map_err(io::Error::from)?;
    let socket = new_socket().map_err(io::Error::from)?;
    let (_directory, address) = address(&unfinished).map_err(io::Error::from)?;
    bind(&socket, &address).map_err(io::Error::from)?;
    let executed = (|| {
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
        listen(&socket, BACKLOG)?;
        // Whoever looks for keepers removes a socket at which nobody listens.
        fs::rename(&unfinished, &path)?;
        drop(launching);
        let mut log = File::options();
        log.write(true).create(true).truncate(true).mode(0o600);
        let log = log.open(path.with_extension("log"))?;
        let marks = [SESSION_MARKER, INSTANCE_MARKER];
        let marks = marks.map(|mark| Some((mark, std::env::var_os(mark)?)));
        // It ends at once, when its child goes on.
        Command::new(program)
            .arg(VERB)
            .arg(&path)
            .arg(crate::build(program).map_err(io::Error::other)?)
            // A daemon that is an agent's child has a keeper that is the agent's, too.
            .env_clear()
            .envs(marks.into_iter().flatten())
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(log)
            .status()
    })();
    let failure = match executed {
        Ok(status) if status.success() => return Ok(path),
        Ok(status) => format!("the keeper has ended at once: {status}"),
        Err(error) => format!("the keeper cannot be started: {error}"),
    };
    for extension in [UNFINISHED, "sock", "log"] {
        let _ = fs::remove_file(path.with_extension(extension));
    }
    Err(Error::unavailable(failure).hint("`AGENTD_KEEPER=off` does without one"))
}

/// Makes a directory that is this user's alone.
fn private(directory: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let metadata = fs::metadata(directory)?;
    let name = directory.display();
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::invalid(format!("`{name}` belongs to another user")));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
