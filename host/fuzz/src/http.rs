//! Any bytes, to the listener of a service.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::service::{answered, exchange};

/// The service is asked for its health after so many inputs.
const SELDOM: usize = 64;

pub const WORDS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"DELETE ",
    b"PATCH ",
    b"OPTIONS ",
    b"HEAD ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"Host: localhost\r\n",
    b"Host: evil.example\r\n",
    b"Origin: null\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"0\r\n\r\n",
    b"5;a=b\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"Content-Type: application/json\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    b"Authorization: Bearer ",
    b"Cookie: ",
    b"Idempotency-Key: a\r\n",
    b"Expect: 100-continue\r\n",
    b" folded\r\n",
    b"/sessions",
    b"/sessions/fuzz",
    b"/sessions/fuzz/logs?tail=1&since=",
    b"/sessions/fuzz/terminal",
    b"/sessions/fuzz/screen",
    b"/sessions/fuzz/input",
    b"/info",
    b"/health",
    b"/login",
    b"/livez",
    b"/../",
    b"%2e%2e",
    b"%00",
    b"?",
    b"{\"text\":\"a\"}",
    b"{\"name\":\"a\",\"working_dir\":\"/\"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\xff\xfe",
    b"\0",
];

/// Whatever comes, the connection ends when its client has left, what is answered is HTTP and no fault of the
/// service, and others are answered as before.
pub fn any_bytes(input: &[u8]) {
    let answer = exchange(input);
    if !answer.is_empty() {
        let status = answer
            .strip_prefix(b"HTTP/1.1 ")
            .or(answer.strip_prefix(b"HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3));
        let status = status.unwrap_or_else(|| panic!("{}", answer.escape_ascii()));
        assert!(
            status.iter().all(u8::is_ascii_digit) && status != b"500",
            "{}",
            answer.escape_ascii()
        );
    }
    static INPUTS: AtomicUsize = AtomicUsize::new(0);
    if INPUTS.fetch_add(1, SeqCst).is_multiple_of(SELDOM) {
        let healthy = answered(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(
            healthy.starts_with(b"HTTP/1.1 200"),
            "{}",
            healthy.escape_ascii()
        );
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let chunked = "POST /sessions/fuzz/input HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                   c\r\n{\"text\":\"a\"}\r\n0\r\n\r\n";
    let upgrade = "GET /sessions/fuzz/terminal HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x01\x02";
    let created = r#"{"name":"a","working_dir":"/","command":["a"],"size":{"cols":9,"rows":9}}"#;
    [
        get("/health") + &get("/info"),
        get("/sessions"),
        get("/sessions/fuzz"),
        get("/sessions/fuzz/logs?tail=5&since=2026-01-01T00:00:00Z"),
        get("/sessions/fuzz/screen"),
        post("/sessions", created),
        post("/sessions/fuzz/input", r#"{"text":"hello","submit":false}"#),
        post("/login", r#"{"token":"a"}"#),
        "DELETE /sessions/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        chunked.to_owned(),
        upgrade.to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
