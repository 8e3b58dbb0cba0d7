//! Requests that a proxy before the service would take for one, and that hold another one.

use agentd_host::testing::TestServer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wrap;

/// One who has got something past a proxy.
struct Smuggler {
    server: TestServer,
}

impl Smuggler {
    fn new() -> Self {
        let server = wrap("pty");
        Smuggler { server }
    }

    /// A request that starts a session, as the proxy would never pass on.
    fn contraband(&self) -> String {
        let body = self.server.new_session("smuggled", &["cat"]).to_string();
        format!(
            "POST /sessions HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.server.address,
            self.server.bearer(),
            body.len()
        )
    }

    /// The head of a request up to what decides where its body ends.
    fn head(&self, request: &str) -> String {
        let host = self.server.address;
        format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n")
    }

    /// What is answered to these bytes and to an innocent request after them, up to the end.
    async fn send(&self, bytes: &str) -> String {
        let innocent = self.head("GET /info");
        let bytes = format!("{bytes}{innocent}Connection: close\r\n\r\n");
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        // The service may have closed it before it has got or given everything.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request with something hidden in it, which must not be taken for a request of its own.
    #[track_caller]
    fn nothing_comes_of(&self, what: &str, bytes: String) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let what = what.to_owned();
        async move {
            let answer = self.send(&bytes).await;
            let sessions = self.server.get("/sessions").await.expect(200).json();
            assert_eq!(sessions["total"], 0, "{caller}: {what}: {answer}");
            // One to the request, and perhaps one to the innocent one.
            let answers = answer.matches("HTTP/1.1 ").count();
            assert!(answers <= 2, "{caller}: {what}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_hidden_would_start_a_session() {
    let smuggler = Smuggler::new();
    let answer = smuggler.send(&smuggler.contraband()).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
}

/// Attack: a request says by a length and by chunks where it ends, and ends in two places. Then: what
/// follows the first of them is not taken for a request.
#[tokio::test]
async fn a_length_and_chunks() {
    let smuggler = Smuggler::new();
    let contraband = smuggler.contraband();
    let head = smuggler.head("POST /login");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let behind = format!("0\r\n\r\n{contraband}");
    let length = format!("Content-Length: {}\r\n", behind.len());
    for lines in [[chunked, &length], [&length, chunked]] {
        let bytes = format!("{head}{}\r\n{behind}", lines.concat());
        smuggler
            .nothing_comes_of("behind the last chunk", bytes)
            .await;
    }
    let within = format!("{:x}\r\n{contraband}\r\n0\r\n\r\n", contraband.len());
    for length in [0, 4] {
        let length = format!("Content-Length: {length}\r\n");
        for lines in [[chunked, &length], [&length, chunked]] {
            let bytes = format!("{head}{}\r\n{within}", lines.concat());
            smuggler.nothing_comes_of("within a chunk", bytes).await;
        }
    }
}

/// Attack: a request has two lengths, or one that programs read in different ways. Then: 400, and the
/// connection ends.
#[tokio::test]
async fn lengths_that_contradict_each_other() {
    let smuggler = Smuggler::new();
    let contraband = smuggler.contraband();
    let head = smuggler.head("POST /login");
    let all = contraband.len();
    for lengths in [
        format!("Content-Length: 0\r\nContent-Length: {all}\r\n"),
        format!("Content-Length: {all}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {all}, 0\r\n"),
        format!("Content-Length: 0, {all}\r\n"),
        format!("Content-Length: 0\r\ncontent-length: {all}\r\n"),
        format!("Content-Length: +{all}\r\n"),
        format!("Content-Length: -{all}\r\n"),
        format!("Content-Length: 0x{all:x}\r\n"),
        format!("Content-Length: {all}.0\r\n"),
        format!("Content-Length: {all} 0\r\n"),
        format!("Content-Length: {all}_0\r\n"),
        "Content-Length: \r\n".to_owned(),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        format!("Content-Length:\r\n {all}\r\n"),
        format!("Content-Length: 0\r\n {all}\r\n"),
        format!("Content-Length : {all}\r\n"),
        format!(" Content-Length: {all}\r\n"),
        format!("Content-Length\0: {all}\r\n"),
        format!("X: a\rContent-Length: {all}\r\n"),
    ] {
        let bytes = format!("{head}{lengths}\r\n{contraband}");
        let answer = smuggler.send(&bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths:?}: {answer}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{lengths:?}: {answer}");
        smuggler.nothing_comes_of(&lengths, bytes.clone()).await;
    }
}

/// Attack: `Transfer-Encoding` is spelt in a way that only some programs read as `chunked`: folded lines,
/// blanks, other names, other cases, in HTTP/1.0. Then: 400, or the request ends where its length says.
#[tokio::test]
async fn spellings_of_chunked() {
    let smuggler = Smuggler::new();
    let contraband = smuggler.contraband();
    let within = format!("{:x}\r\n{contraband}\r\n0\r\n\r\n", contraband.len());
    for spelling in [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\r\n\tTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chunked\rX: a",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding\0: chunked",
    ] {
        let length = format!("Content-Length: {}\r\n", within.len());
        let head = smuggler.head("POST /login");
        for lines in [
            format!("{length}{spelling}"),
            format!("{spelling}\r\n{length}"),
        ] {
            let lines = lines.trim_end();
            let bytes = format!("{head}{lines}\r\n\r\n{within}");
            smuggler.nothing_comes_of(spelling, bytes).await;
        }
    }
    let old = smuggler.head("POST /login").replace("HTTP/1.1", "HTTP/1.0");
    let bytes = format!("{old}Transfer-Encoding: chunked\r\n\r\n{within}");
    smuggler.nothing_comes_of("HTTP/1.0", bytes).await;
}

/// Attack: chunks whose sizes, extensions and ends programs read in different ways: bare line feeds,
/// signs, overflows, nothing after the data. Then: what is hidden there is not taken for a request.
#[tokio::test]
async fn chunks_that_are_none() {
    let smuggler = Smuggler::new();
    let contraband = smuggler.contraband();
    let head = smuggler.head("POST /login");
    let size = contraband.len();
    for chunks in [
        // An extension with a line feed: the size of a chunk to some, and the end to others.
        format!("0;\n{size:x}\r\n\r\n{contraband}\r\n0\r\n\r\n"),
        format!("2;\nxx\r\n{size:x}\r\n{contraband}\r\n0\r\n\r\n"),
        format!("{size:x};a=\"\r\n0\r\n\r\n\"\r\n{contraband}\r\n0\r\n\r\n"),
        format!("0\n\n{contraband}"),
        format!("0\n\r\n{contraband}"),
        format!("0\r\n\n{contraband}"),
        format!("0\r\r\n\r\n{contraband}"),
        format!("-1\r\n\r\n{contraband}"),
        format!("+0\r\n\r\n{contraband}"),
        format!("0x0\r\n\r\n{contraband}"),
        format!(" 0\r\n\r\n{contraband}"),
        format!("0 0\r\n\r\n{contraband}"),
        format!("\r\n\r\n{contraband}"),
        format!(";a\r\n\r\n{contraband}"),
        format!("10000000000000000\r\n\r\n{contraband}"),
        format!("ffffffffffffffff\r\n\r\n{contraband}"),
        // The data goes on where its end should be.
        format!("1\r\nxX\r\n0\r\n\r\n{contraband}"),
        format!("1\r\nx0\r\n\r\n{contraband}"),
    ] {
        let bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        // Behind the proxy everything is one body, so an answer to what is hidden is one too many.
        let answer = smuggler.send(&bytes).await;
        let list = smuggler.server.get("/sessions").await.json();
        assert_eq!(list["total"], 0, "{chunks:?}: {answer}");
    }
}

/// Attack: fields after the last chunk that say who asks, and of what length. Then: they count for
/// nothing.
#[tokio::test]
async fn fields_after_the_last_chunk() {
    let smuggler = Smuggler::new();
    let body = smuggler
        .server
        .new_session("smuggled", &["cat"])
        .to_string();
    let trailers = format!(
        "Authorization: {}\r\nHost: {}\r\nContent-Length: 0\r\nTransfer-Encoding: identity\r\n",
        smuggler.server.bearer(),
        smuggler.server.address
    );
    let head = smuggler.head("POST /sessions");
    let bytes = format!(
        "{head}Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n{trailers}\r\n",
        body.len()
    );
    let answer = smuggler.send(&bytes).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    smuggler.nothing_comes_of("trailers", bytes).await;
}

/// Attack: a body where none is looked at: of a GET, of what is refused, of a path that is not there, and
/// of one that asks to be told to go on. Then: nothing of it is taken for a request.
#[tokio::test]
async fn bodies_that_nobody_reads() {
    let smuggler = Smuggler::new();
    let contraband = smuggler.contraband();
    let bearer = format!("Authorization: {}\r\n", smuggler.server.bearer());
    let length = format!("Content-Length: {}\r\n", contraband.len());
    let mut requests = Vec::new();
    for request in [
        "GET /info",
        "GET /sessions",
        "HEAD /info",
        "OPTIONS /sessions",
        "DELETE /sessions/nobody",
        "POST /nowhere",
        "PUT /info",
        "POST /logout",
        "POST /sessions",
        "GET /sessions/nobody/terminal",
        "CONNECT /info",
        "TRACE /info",
    ] {
        for lines in ["", &bearer, "Expect: 100-continue\r\n", "Origin: null\r\n"] {
            let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
            for upgrade in ["", upgrade, "Connection: upgrade\r\nUpgrade: h2c\r\n"] {
                let head = smuggler.head(request);
                requests.push(format!("{head}{lines}{upgrade}{length}\r\n{contraband}"));
            }
        }
    }
    for bytes in requests {
        let answer = smuggler.send(&bytes).await;
        let list = smuggler.server.get("/sessions").await.json();
        assert_eq!(list["total"], 0, "{bytes:?}: {answer}");
    }
}

/// Attack: a request line that programs read in different ways: more words, other blanks, a version that
/// is none, another host in it. Then: 400, 403 or 404.
#[tokio::test]
async fn request_lines_that_are_none() {
    let smuggler = Smuggler::new();
    let host = format!("Host: {}\r\n", smuggler.server.address);
    for line in [
        "GET /info HTTP/1.1 HTTP/1.1",
        "GET  /info HTTP/1.1",
        "GET /info  HTTP/1.1",
        "GET\t/info\tHTTP/1.1",
        " GET /info HTTP/1.1",
        "GET /info HTTP/1.1 ",
        "GET /info HTTP/1.2",
        "GET /info http/1.1",
        "GET /info",
        "GET info HTTP/1.1",
        "GET /in fo HTTP/1.1",
        "GET /info\0 HTTP/1.1",
        "GET http://evil.example/info HTTP/1.1",
        "G\rET /info HTTP/1.1",
        "CONNECT evil.example:80 HTTP/1.1",
    ] {
        let bytes = format!("{line}\r\n{host}Connection: close\r\n\r\n");
        let answer = smuggler.server.raw(bytes.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let is_refused = ["", "400", "403", "404", "405"].contains(&status);
        assert!(is_refused, "{line:?}: {answer}");
    }
    let good = json!(smuggler.server.get("/info").await.expect(200).json());
    assert_eq!(good["backend_type"], "pty");
}
