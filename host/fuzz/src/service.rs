use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agentd_host::testing::TestServer;

/// How long an answer may take. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The session that there is.
pub const SESSION: &str = "fuzz";

/// `agentd-wrap` in this process, on a Unix socket, whose sessions run no program: what is typed there comes
/// back. So nothing that an input asks for is executed.
struct Service {
    _server: TestServer,
    socket: PathBuf,
}

static SERVICE: Mutex<Option<Service>> = Mutex::new(None);

/// Sends this and leaves: what comes back until the service closes the connection. It need not answer one
/// that has left.
pub fn exchange(sent: &[u8]) -> Vec<u8> {
    let mut stream = send(sent);
    leave(&stream);
    let mut answer = Vec::new();
    read(&mut stream, &mut answer, |_| false);
    answer
}

/// The same, but leaves when the head of an answer has come.
pub fn answered(sent: &[u8]) -> Vec<u8> {
    let mut stream = send(sent);
    let mut answer = Vec::new();
    read(&mut stream, &mut answer, |answer| {
        answer.windows(4).any(|bytes| bytes == b"\r\n\r\n")
    });
    leave(&stream);
    read(&mut stream, &mut answer, |_| false);
    answer
}

fn send(sent: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The service may have closed it already.
    match stream.write_all(sent) {
        Err(error) if !is_end(error.kind()) => panic!("sending takes too long: {error}"),
        _ => stream,
    }
}

fn leave(stream: &UnixStream) {
    match stream.shutdown(Shutdown::Write) {
        Err(error) if !is_end(error.kind()) => panic!("{error}"),
        _ => {}
    }
}

/// Up to where it is enough, or the end.
fn read(stream: &mut UnixStream, answer: &mut Vec<u8>, is_enough: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 4096];
    while !is_enough(answer) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if is_end(error.kind()) => return,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

/// Ends the service, if there is one, as it ends by itself only with the process.
pub fn end_service() {
    drop(
        SERVICE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
}

fn socket() -> PathBuf {
    let mut service = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let service = service.get_or_insert_with(Service::start);
    service.socket.clone()
}

impl Service {
    fn start() -> Service {
        // Its own directory for the socket: the state directory is not made yet.
        let directory = std::env::temp_dir().join(format!("agentd-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
        let socket = directory.join("wrap.sock");
        let listen = format!("--listen=tcp,unix:{}", socket.display());
        let flags = [listen.as_str(), "--max-sessions=64"];
        let server = TestServer::start(&agentd_wrap::SERVICE, agentd_wrap::server, "echo", &flags);
        let service = Service {
            _server: server,
            socket,
        };
        let body = format!(r#"{{"name":"{SESSION}","working_dir":"/"}}"#);
        let request = format!(
            "POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(&service.socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 201");
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(directory) = self.socket.parent() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}
