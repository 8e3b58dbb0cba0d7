use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::builder::Builder;
use super::{ClientError, address::Address};

/// A service's Unix socket, to which requests go only while this user or root listens there.
///
/// Whoever may write to the directory can put another socket at the path at any moment. So not the path
/// is connected to but the socket that was found there and looked at: it has been bound once, and nobody
/// else ever listens at it.
#[derive(Clone, Debug)]
pub(super) struct OwnSocket {
    path: PathBuf,
    /// Makes a client that goes to one socket only.
    builder: Builder,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    newest: Option<Looked>,
    /// Open as long as there are clients that know them by their numbers: each service that was
    /// there has left one.
    sockets: Vec<File>,
}

/// A socket whose owner was looked at.
#[derive(Clone, Debug)]
struct Looked {
    /// Device and inode, which no other file gets while this one is open.
    identity: (u64, u64),
    http: reqwest::Client,
}

impl OwnSocket {
    pub(super) fn new(path: &Path, builder: &Builder) -> OwnSocket {
        OwnSocket {
            path: path.to_owned(),
            builder: builder.clone(),
            seen: Arc::default(),
        }
    }

    /// Goes to the socket that is at the path now, after a look at who listens there.
    pub(super) fn http(&self, at: &Address) -> Result<reqwest::Client, ClientError> {
        let unreachable = |error: std::io::Error| ClientError::Unreachable {
            url: at.shown.clone(),
            reason: error.to_string(),
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let socket: OwnedFd =
            open(&self.path, flags, Mode::empty()).map_err(|error| unreachable(error.into()))?;
        let socket = File::from(socket);
        let metadata = socket.metadata().map_err(unreachable)?;
        let identity = (metadata.dev(), metadata.ino());
        let mut seen = self.lock();
        if let Some(looked) = &seen.newest
            && looked.identity == identity
        {
            return Ok(looked.http.clone());
        }
        // This very socket, whatever is at its path (proc(5)).
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let owner = UnixStream::connect(&path)
            .and_then(|stream| Ok(socket_peercred(&stream)?.uid))
            .map_err(unreachable)?;
        if !owner.is_root() && owner != geteuid() {
            return Err(ClientError::Stranger {
                url: at.shown.clone(),
                user: owner.as_raw(),
            });
        }
        let http = self
            .builder
            .builder()
            .unix_socket(Path::new(&path))
            .build()
            .map_err(|error| ClientError::request(at, &error))?;
        seen.sockets.push(socket);
        let looked = seen.newest.insert(Looked { identity, http });
        Ok(looked.http.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use rustix::process::Uid;

    use super::*;
    use crate::client::{Authorities, Client};

    /// Answers one request with this text, after connections that ask nothing.
    fn serve(listener: UnixListener, text: &'static str) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                if stream.read(&mut head).unwrap() == 0 {
                    continue;
                }
                let length = text.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                stream
                    .write_all(format!("{head}{text}").as_bytes())
                    .unwrap();
                return;
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_looked_at_is_what_is_connected_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let at = Address::parse(&format!("unix:{}", path.display())).unwrap();
        let builder = Builder::new(&at, &Authorities::System).unwrap();
        let socket = OwnSocket::new(&path, &builder);
        assert!(matches!(
            socket.http(&at),
            Err(ClientError::Unreachable { .. })
        ));
        let first = serve(UnixListener::bind(&path).unwrap(), "first");
        let http = socket.http(&at).unwrap();
        fs::remove_file(&path).unwrap();
        let second = serve(UnixListener::bind(&path).unwrap(), "second");
        let get = async |http: reqwest::Client| {
            let answer = http.get("http://localhost/").send().await.unwrap();
            answer.text().await.unwrap()
        };
        assert_eq!(get(http).await, "first");
        assert_eq!(get(socket.http(&at).unwrap()).await, "second");
        for server in [first, second] {
            server.join().unwrap();
        }
    }

    /// Attack: another socket takes the place of the service's between the look and the connection.
    /// Then: nothing is sent there.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stranger_that_comes_later_is_sent_nothing() {
        if !geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let path = directory.path().join("socket");
        let url = format!("unix:{}", path.display());
        let client = Client::new(&url, Some("secret")).unwrap();
        let own = serve(UnixListener::bind(&path).unwrap(), "{}");
        let request = client.request(reqwest::Method::GET, &["x"]);
        client.send(request).await.unwrap();
        own.join().unwrap();
        fs::remove_file(&path).unwrap();
        let bound = path.clone();
        let bind = move || {
            let stranger = Uid::from_raw(65_123);
            rustix::thread::set_thread_res_uid(Uid::ROOT, stranger, Uid::ROOT).unwrap();
            UnixListener::bind(bound).unwrap()
        };
        let stranger = thread::spawn(bind).join().unwrap();
        let request = client.request(reqwest::Method::GET, &["x"]);
        let refused = client.send(request).await.unwrap_err();
        let said = format!("user 65123 listens at `{url}`, and nothing was sent there");
        assert_eq!(refused.to_string(), said);
        let mut sent = String::new();
        let (mut connection, _) = stranger.accept().unwrap();
        connection.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "");
    }
}
