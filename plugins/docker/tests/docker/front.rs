//! What stands before an engine and speaks as another version of it: the nearest to an upgrade where one version is
//! installed.
//!
//! Other packages' tests may include this file by its path.

#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A version of the engine, with the versions of its API that it takes.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub name: &'static str,
    pub newest_api: (u32, u32),
    pub oldest_api: (u32, u32),
}

pub const OLD: Version = Version {
    name: "20.10.24",
    newest_api: (1, 41),
    oldest_api: (1, 12),
};

/// It takes none of those that the old one does.
pub const NEW: Version = Version {
    name: "29.1.0",
    newest_api: (1, 52),
    oldest_api: (1, 44),
};

/// A socket at which an engine answers as the version that is set.
pub struct Front {
    directory: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    version: Mutex<Version>,
    open: AtomicUsize,
    is_over: AtomicBool,
}

impl Front {
    /// Before the engine at that socket.
    pub fn of(engine: &Path, version: Version) -> Front {
        let directory = tempfile::tempdir().expect("a directory for a socket");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("a socket");
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            version: Mutex::new(version),
            open: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Some(client) = client.ok().filter(|_| !serving.is_over()) else {
                    return;
                };
                let shared = serving.clone();
                thread::spawn(move || {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    // It ends when one of the two does.
                    let _ = shared.pass_on(client);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Front { directory, shared }
    }

    /// The value for `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// From now on the engine is this one.
    pub fn become_version(&self, version: Version) {
        let current = self.shared.version.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// How many connections clients have.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // It sees that when one more comes.
        let _ = UnixStream::connect(self.socket());
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn version(&self) -> Version {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the first request of a connection, or lets the engine do it; clients make one for each.
    fn pass_on(&self, mut client: UnixStream) -> io::Result<()> {
        let head = read_head(&mut client)?;
        let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (asked, path) = api_version(target);
        let version = self.version();
        if let Some(asked) = asked
            && let Some(why) = version.refusal(asked)
        {
            return answer(&mut client, 400, version, &json!({"message": why}));
        }
        if let "/version" | "/info" = path {
            let said = answer_of(&self.engine, path)?;
            return answer(&mut client, 200, version, &version.said_by(path, said));
        }
        let mut engine = UnixStream::connect(&self.engine)?;
        engine.write_all(format!("{method} {path} HTTP/1.1\r\n{rest}").as_bytes())?;
        let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
        let upward = thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_engine);
            // The other way ends by that, unless more is to come.
            let _ = to_engine.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut engine, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = upward.join();
        Ok(())
    }
}

impl Version {
    fn refusal(self, asked: (u32, u32)) -> Option<String> {
        let (major, minor) = asked;
        let bounds = [
            (self.oldest_api, "old", "Minimum"),
            (self.newest_api, "new", "Maximum"),
        ];
        let [(oldest, ..), (newest, ..)] = bounds;
        let (bound, word, most) = bounds[usize::from(asked > newest)];
        (asked < oldest || asked > newest).then(|| {
            let (api_major, api_minor) = bound;
            format!(
                "client version {major}.{minor} is too {word}. {most} supported API version is \
                 {api_major}.{api_minor}"
            )
        })
    }

    /// What the engine says, as this version says it.
    fn said_by(self, path: &str, mut said: Value) -> Value {
        let api = |(major, minor)| json!(format!("{major}.{minor}"));
        match path {
            "/version" => {
                said["Version"] = json!(self.name);
                said["ApiVersion"] = api(self.newest_api);
                said["MinAPIVersion"] = api(self.oldest_api);
            }
            _ => said["ServerVersion"] = json!(self.name),
        }
        said
    }
}

/// Up to the empty line.
fn read_head(client: &mut UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// The version that a path begins with, and the rest of it.
fn api_version(target: &str) -> (Option<(u32, u32)>, &str) {
    let parse = || {
        let (version, path) = target.strip_prefix("/v")?.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        let version = (major.parse().ok()?, minor.parse().ok()?);
        Some((Some(version), &target[target.len() - path.len() - 1..]))
    };
    parse().unwrap_or((None, target))
}

fn answer_of(engine: &Path, path: &str) -> io::Result<Value> {
    let mut stream = UnixStream::connect(engine)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    serde_json::from_str(body).map_err(io::Error::other)
}

fn answer(client: &mut UnixStream, status: u16, version: Version, body: &Value) -> io::Result<()> {
    let (major, minor) = version.newest_api;
    let body = body.to_string();
    write!(
        client,
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nApi-Version: {major}.{minor}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
