use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// What the kernel takes, in bytes (unix(7)).
const LONGEST_PATH: usize = 107;

/// Connections that the kernel keeps until they are accepted, at most.
const BACKLOG: u32 = 1024;

/// A Unix socket that only its owner can connect to. Its file is removed when this is dropped, but
/// for one that somebody else has made.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    own: Option<Own>,
}

/// What is known of a file that this service has made.
#[derive(Debug)]
struct Own {
    /// Device and inode, by which the file is known.
    identity: (u64, u64),
    /// Locked for as long as this service lives; it tells a socket that is used from one that a
    /// service left which was killed.
    _lock: File,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel has no room for the path.
    #[error("the path of the socket `{}` is longer than {LONGEST_PATH} bytes", .0.display())]
    TooLong(PathBuf),
    /// Another service listens there.
    #[error("the socket `{}` is in use", .0.display())]
    InUse(PathBuf),
    /// A file or directory is in the way, which is left alone.
    #[error("`{}` is there and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Anything else.
    #[error("the socket `{}`: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

impl SocketFile {
    /// Listens at `path`, also where a service that was killed did.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if path.as_os_str().as_bytes().len() > LONGEST_PATH {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        let failed = |error: io::Error| SocketError::Io(path.to_owned(), error);
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(lock_path)
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SocketError::InUse(path.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            // Of a program that does not lock it.
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(SocketError::InUse(path.to_owned()));
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listen = || {
            let socket = UnixSocket::new_stream()?;
            socket.bind(path)?;
            // Nobody can connect before it listens.
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            let identity = identity(path)?;
            Ok((socket.listen(BACKLOG)?, identity))
        };
        let (listener, identity) = listen().map_err(failed)?;
        Ok(SocketFile {
            listener,
            path: path.to_owned(),
            own: Some(Own {
                identity,
                _lock: lock,
            }),
        })
    }

    /// One that somebody else has bound, and that stays when the service ends.
    pub fn adopt(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(SocketFile {
            path: address.as_pathname().unwrap_or(Path::new("")).to_owned(),
            listener: UnixListener::from_std(listener)?,
            own: None,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = |own: &Own| identity(&self.path).is_ok_and(|now| now == own.identity);
        if self.own.as_ref().is_some_and(is_own) {
            // The next service removes what is left.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_has_one_service_and_what_was_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        // Bound and closed: nobody listens, and the file is there.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = SocketFile::bind(&path).unwrap();
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            SocketFile::bind(&path),
            Err(SocketError::InUse(_))
        ));
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), first.accept());
        let (client, accepted) = (client.unwrap(), accepted.unwrap());
        assert_eq!(
            client.peer_cred().unwrap().uid(),
            accepted.peer_cred().unwrap().uid()
        );
        drop(first);
        assert!(!path.exists());
        let again = SocketFile::bind(&path).unwrap();
        // Not removed by one who does not own it any more.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop(again);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
        assert!(matches!(
            SocketFile::bind(&path),
            Err(SocketError::NotASocket(_))
        ));
    }

    #[tokio::test]
    async fn another_programs_socket_and_a_long_path_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(
            SocketFile::bind(&path),
            Err(SocketError::InUse(_))
        ));
        drop(other);
        let long = directory.path().join("x".repeat(LONGEST_PATH));
        assert!(matches!(
            SocketFile::bind(&long),
            Err(SocketError::TooLong(_))
        ));
    }
}
