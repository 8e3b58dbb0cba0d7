use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Check, Verdict, check};

const WHAT: &str = "docker";

/// How long an engine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// As much of an answer as has its head.
const HEAD: u64 = 4096;

/// The engine that a service with this environment would use.
pub(super) fn engine() -> Check {
    let host = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let host = host.as_deref().unwrap_or("unix:///var/run/docker.sock");
    match host.strip_prefix("unix://") {
        Some(path) => at(Path::new(path)),
        None => {
            let found = format!("`DOCKER_HOST` is `{host}`, which only a service looks at");
            check(WHAT, Verdict::Skipped, found)
        }
    }
}

fn at(socket: &Path) -> Check {
    let shown = socket.display();
    let error = match ping(socket) {
        Ok(engine) => return check(WHAT, Verdict::Ok, format!("{engine} at {shown}")),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::NotFound => {
            let found =
                format!("no engine at {shown}, which only the backends `docker` and `swarm` need");
            check(WHAT, Verdict::Skipped, found)
                .hint("`apt-get install docker.io`, or name its socket with `DOCKER_HOST`")
        }
        ErrorKind::PermissionDenied => {
            let found = format!("{shown} is not for this user");
            check(WHAT, Verdict::Warning, found).hint(
                "become a member of its group, `sudo usermod --append --groups docker $USER`, and sign \
                 in again",
            )
        }
        ErrorKind::ConnectionRefused => {
            let found = format!("{shown} is there, and nobody listens");
            check(WHAT, Verdict::Warning, found).hint("`systemctl start docker`")
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            let seconds = PATIENCE.as_secs();
            let found = format!("the engine at {shown} is silent for {seconds} s");
            check(WHAT, Verdict::Warning, found).hint("`journalctl --unit docker` may say why")
        }
        _ => check(WHAT, Verdict::Warning, format!("{shown}: {error}")),
    }
}

/// What the engine calls itself (`GET /_ping` of the Docker Engine API).
fn ping(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(HEAD).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let mut lines = answer.lines();
    match lines.next() {
        Some(status) if status.starts_with("HTTP/1.1 200 ") => {}
        _ => return Err(io::Error::other("what answers is not a Docker engine")),
    }
    let server = lines.find_map(|line| line.strip_prefix("Server: "));
    Ok(server.unwrap_or("an engine").to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// What is found at a socket at which each client gets this answer.
    fn found(answer: &'static [u8]) -> (Verdict, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let engine = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let request = BufReader::new(client.try_clone().unwrap()).lines();
            let is_of_head = |line: &io::Result<String>| !line.as_ref().unwrap().is_empty();
            request.take_while(is_of_head).for_each(drop);
            client.write_all(answer).unwrap();
        });
        let check = at(&path);
        engine.join().unwrap();
        (check.verdict, check.found)
    }

    #[test]
    fn an_engine_that_answers_is_named() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: Docker/20.10.24 (linux)\r\n\r\nOK";
        let (verdict, found) = found(answer);
        assert_eq!(verdict, Verdict::Ok);
        assert!(found.starts_with("Docker/20.10.24 (linux) at "), "{found}");
    }

    #[test]
    fn what_is_not_an_engine_is_not_taken_for_one() {
        for answer in [&b"hello\r\n"[..], b"HTTP/1.1 404 Not Found\r\n\r\n", b""] {
            let (verdict, found) = found(answer);
            assert_eq!(verdict, Verdict::Warning);
            assert!(found.ends_with("not a Docker engine"), "{found}");
        }
    }

    #[test]
    fn a_socket_that_is_not_there_and_one_without_an_engine_differ() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        assert_eq!(at(&path).verdict, Verdict::Skipped);
        drop(UnixListener::bind(&path).unwrap());
        let left = at(&path);
        assert_eq!(left.verdict, Verdict::Warning);
        assert!(left.found.ends_with("nobody listens"), "{}", left.found);
    }

    #[test]
    fn a_socket_of_others_is_not_taken_for_none() {
        if rustix::process::geteuid().is_root() {
            // Root may use every socket.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        assert_eq!(at(&path).verdict, Verdict::Warning);
    }
}
