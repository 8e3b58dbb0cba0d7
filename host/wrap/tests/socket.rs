//! Unix sockets, and who is at their other end.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use agentd_host::testing::{eventually, may_be_others};
use rustix::process::{Signal, Uid};

use crate::program;

/// The answer to a request with these further lines in its head.
fn ask(path: &Path, request: &str, lines: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: any\r\n{lines}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub fn status(path: &Path, request: &str, lines: &str) -> String {
    let answer = ask(path, request, lines);
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// Attack: a request that a page has got to the Unix socket. Then: 403, and the socket is for its user
/// alone.
#[tokio::test]
async fn the_services_own_user_needs_no_token_on_its_socket() {
    let mut daemon = program().start();
    let path = daemon.state_dir().join("agentd-wrap.sock");
    let mode = path.symlink_metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(status(&path, "GET /sessions", ""), "200");
    // No browser goes there; a page's request that somebody passes on is one of a page.
    let origin = "Origin: http://evil.example\r\n";
    assert_eq!(status(&path, "GET /sessions", origin), "403");
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_of_a_service_that_was_killed_is_replaced() {
    let mut daemon = program().start();
    let path = daemon.state_dir().join("agentd-wrap.sock");
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    assert!(path.exists());
    let daemon = program().start_after(daemon);
    assert_eq!(status(&path, "GET /sessions", ""), "200");
    // Another one beside it serves without the socket, and leaves it alone.
    let mut beside = program().start_in(&daemon.state_dir());
    assert!(beside.log().contains("is in use"), "{}", beside.log());
    beside.signal(Signal::TERM);
    beside.ended().await;
    assert_eq!(status(&path, "GET /sessions", ""), "200");
}

#[tokio::test]
async fn a_token_can_be_asked_for_on_the_socket_too() {
    let daemon = program().env("AGENTD_SOCKET_AUTH", "token").start();
    let path = daemon.state_dir().join("agentd-wrap.sock");
    assert_eq!(status(&path, "GET /sessions", ""), "401");
    let token = format!("Authorization: {}\r\n", daemon.bearer());
    assert_eq!(status(&path, "GET /sessions", &token), "200");
}

/// Attack: another user connects to the Unix socket, also where its mode lets everybody. Then: the
/// kernel refuses it, or 401.
#[tokio::test]
async fn another_user_needs_the_token_even_where_the_file_lets_them_in() {
    if !may_be_others() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("socket");
    let listen = format!("tcp,unix:{}", path.display());
    let daemon = program().env("AGENTD_LISTEN", listen).start();
    let as_stranger = |lines: String| {
        let path = path.clone();
        let request = move || {
            let stranger = Uid::from_raw(65_123);
            rustix::thread::set_thread_res_uid(Uid::ROOT, stranger, Uid::ROOT).unwrap();
            UnixStream::connect(&path).map(|_| status(&path, "GET /sessions", &lines))
        };
        thread::spawn(request).join().unwrap()
    };
    as_stranger(String::new()).unwrap_err();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(as_stranger(String::new()).unwrap(), "401");
    let token = format!("Authorization: {}\r\n", daemon.bearer());
    assert_eq!(as_stranger(token).unwrap(), "200");
}

#[tokio::test]
async fn a_service_may_have_a_socket_and_no_port() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("--listen=unix:{}", path.display());
    let mut daemon = program().arg(&listen).spawn();
    eventually("the service listens", async || {
        UnixStream::connect(&path).ok()
    })
    .await;
    assert_eq!(status(&path, "GET /sessions", ""), "200");
    let code = ask(&path, "POST /login/codes", "Content-Length: 0\r\n");
    assert!(
        code.contains(" 409 ") && code.contains("no-address"),
        "{code}"
    );
    let second = program().arg(&listen).ends().await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(
        second.stderr.contains("is in use\nhint: "),
        "{}",
        second.stderr
    );
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_place_that_cannot_be_is_refused() {
    let long = format!("--listen=unix:/tmp/{}", "x".repeat(107));
    for (listen, said) in [
        (long.as_str(), "is longer than 107 bytes"),
        ("--listen=unix:/tmp", "is there and is not a socket"),
        ("--listen=unix:relative", "an absolute path"),
        ("--listen=udp", "a place is `tcp`"),
    ] {
        let ended = program().arg(listen).ends().await;
        assert_eq!(ended.code, Some(78), "{listen}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{listen}: {}", ended.stderr);
    }
}

/// Attack: another user listens at the same port of the other loopback address. Then: the service does
/// not start.
#[tokio::test]
async fn both_loopback_families_are_the_services_or_it_does_not_start() {
    let Ok(other) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let daemon = program().start();
    let port = daemon.address.port();
    let mut stream = std::net::TcpStream::connect(("::1", port)).unwrap();
    let request = format!("GET /info HTTP/1.1\r\nHost: [::1]:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let port = other.local_addr().unwrap().port();
    let ended = program().env("AGENTD_PORT", port.to_string()).ends().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = format!("Error: port {port} of ::1 is in use\nhint: ");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
}

#[tokio::test]
async fn the_socket_is_in_the_runtime_directory_and_the_second_services_in_its_state_directory() {
    let runtime = tempfile::tempdir().unwrap();
    fs::set_permissions(runtime.path(), Permissions::from_mode(0o700)).unwrap();
    let path = runtime.path().join("agentd/agentd-wrap.sock");
    let mut first = program().env("XDG_RUNTIME_DIR", runtime.path()).start();
    assert_eq!(status(&path, "GET /sessions", ""), "200");
    assert!(!first.state_dir().join("agentd-wrap.sock").exists());
    let second = program().env("XDG_RUNTIME_DIR", runtime.path()).start();
    let own = second.state_dir().join("agentd-wrap.sock");
    assert_eq!(status(&own, "GET /sessions", ""), "200");
    let said = format!("the socket `{}` is in use; the socket is", path.display());
    assert!(second.log().contains(&said), "{}", second.log());
    first.signal(Signal::TERM);
    first.ended().await;
    assert!(!path.exists());

    // A relative or foreign directory, as of another user, is left alone.
    for runtime_dir in ["", "relative", "/nowhere", "/"] {
        let daemon = program().env("XDG_RUNTIME_DIR", runtime_dir).start();
        let own = daemon.state_dir().join("agentd-wrap.sock");
        assert_eq!(status(&own, "GET /sessions", ""), "200", "{runtime_dir}");
    }
}
