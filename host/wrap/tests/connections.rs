//! Clients that leave, and clients that speak something else than HTTP.

use std::time::Duration;

use agentd_host::testing::{RunningProgram, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program;

/// Sends these bytes, reads the answer where `waits` says so, leaves, and waits until the service
/// has noticed that.
async fn visit(daemon: &RunningProgram, bytes: &[u8], waits: bool) {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let client = stream.local_addr().unwrap();
    eventually("the connection is accepted", async || {
        daemon.holds_connection(client).then_some(())
    })
    .await;
    stream.write_all(bytes).await.unwrap();
    if waits {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
    }
    drop(stream);
    eventually("the connection is closed", async || {
        (!daemon.holds_connection(client)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_is_not_an_error_of_the_service() {
    let daemon = program().start();
    daemon.raw(b"GET /health HTTP/1.0\r\n\r\n").await;
    visit(&daemon, b"", false).await;
    visit(&daemon, b"GET /hea", false).await;
    visit(
        &daemon,
        b"POST /login HTTP/1.1\r\nHost: localhost\r\n",
        false,
    )
    .await;
    let unfinished_body = format!(
        "POST /login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"tok",
        daemon.address
    );
    visit(&daemon, unfinished_body.as_bytes(), false).await;
    assert_quiet(&daemon);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let daemon = program().env("AGENTD_HEADER_TIMEOUT_MS", "300").start();
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n", daemon.address);
    for sent in ["", "GET /hea", &request, &format!("{request}\r\n")] {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let closed = async {
            let mut answer = Vec::new();
            // An error is an end, too.
            let _ = stream.read_to_end(&mut answer).await;
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), closed).await;
        assert!(ended.is_ok(), "still open after {sent:?}");
    }
    assert_quiet(&daemon);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let daemon = program().env("AGENTD_HEADER_TIMEOUT_MS", "300").start();
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
             Content-Type: application/json\r\n",
            daemon.address,
            daemon.bearer()
        )
    };
    let length = "Content-Length: 100\r\n\r\n{\"name\"";
    // The last one reads no body.
    for (path, status) in [("/login", "408"), ("/sessions", "408"), ("/nowhere", "404")] {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        let request = [&head(path), length].concat();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let closed = stream.read_to_string(&mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
        closed.expect("still open").unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // In pieces, and in time.
    let body = r#"{"token":"wrong"}"#;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!("{}Content-Length: {}\r\n\r\n", head("/login"), body.len());
    for part in [&request, &body[..5], &body[5..]] {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_quiet(&daemon);
}

/// Attack: TLS, HTTP/2, nonsense and an endless header on the port. Then: the connection ends, and the
/// log has no line about it.
#[tokio::test]
async fn malformed_requests_are_not_errors_of_the_service() {
    let daemon = program().start();
    daemon.raw(b"GET /health HTTP/1.0\r\n\r\n").await;
    let endless_header = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let requests: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is not a frame",
        b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
    ];
    for request in requests {
        visit(&daemon, request, true).await;
    }
    // The service may answer before it has read all of it, and then resets the connection.
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let _ = stream.write_all(&endless_header).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    daemon.get("/health").await.expect(200);
    assert_quiet(&daemon);
}

#[track_caller]
fn assert_quiet(daemon: &RunningProgram) {
    let log = daemon.log();
    let is_loud = |line: &&str| line.contains("ERROR") || line.contains("WARN");
    let loud: Vec<&str> = log.lines().filter(is_loud).collect();
    assert_eq!(loud, [""; 0]);
}
