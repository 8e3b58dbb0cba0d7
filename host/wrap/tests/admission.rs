//! What one client may take, and that no other goes without for it.

use std::path::Path;

use agentd_host::testing::{DEADLINE, RunningProgram, TestProgram, eventually};
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// The service, with a socket at a place that the tests know.
fn program() -> TestProgram {
    let program = crate::program();
    let socket = program.state_dir().join("own.sock");
    program.env("AGENTD_LISTEN", format!("tcp,unix:{}", socket.display()))
}

async fn connect(daemon: &RunningProgram) -> TcpStream {
    TcpStream::connect(daemon.address()).await.unwrap()
}

/// The head of a request without credentials, without its end.
fn head(daemon: &RunningProgram, request: &str) -> String {
    format!("{request} HTTP/1.1\r\nHost: {}\r\n", daemon.address())
}

/// Whether the service has closed it.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// The answer to a request on a connection of its own, without the token.
async fn answer(daemon: &RunningProgram, request: &str, headers: &str) -> String {
    let request = head(daemon, request);
    let close = "Connection: close\r\n\r\n";
    daemon
        .raw(format!("{request}{headers}{close}").as_bytes())
        .await
}

/// The same of the service's own user.
async fn own_answer(daemon: &RunningProgram, request: &str) -> String {
    let path = daemon.state_dir().join("own.sock");
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: own\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[track_caller]
fn is_refusal(answer: &str, status: u16, code: &str) -> bool {
    if !answer.starts_with(&format!("HTTP/1.1 {status} ")) {
        return false;
    }
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    true
}

/// As many files as this may open: how many connections the service has room for then, but for some.
fn raise_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    maximum.map_or(u64::MAX, |most| (most / 2).saturating_sub(300))
}

/// Attack: 3,000 connections that say nothing and 200 that are slow. Then: a user beside them is served
/// as before.
#[tokio::test]
async fn three_thousand_who_wait_and_two_hundred_who_are_slow_keep_nobody_waiting() {
    let most = raise_limit();
    // Longer than the test takes on any machine.
    let daemon = program().env("AGENTD_HEADER_TIMEOUT_MS", "3600000").start();
    let idle = join_all((0..most.min(3000)).map(|_| connect(&daemon))).await;
    let slow = join_all((0..200).map(async |number| {
        let mut stream = connect(&daemon).await;
        let sent = match number % 4 {
            0 => "GET /hea".to_owned(),
            1 => head(&daemon, "GET /health"),
            // The rest of the body never comes.
            2 => {
                let head = head(&daemon, "POST /login");
                format!("{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{")
            }
            // Nobody reads the answers.
            _ => format!("{}\r\n", head(&daemon, "GET /health")).repeat(20),
        };
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }))
    .await;

    let (session, _terminal) = daemon.use_normally().await;
    session.delete().await;
    assert!(
        own_answer(&daemon, "GET /sessions")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let cut = idle.iter().filter(|stream| is_closed(stream)).count();
    assert_eq!(cut, 0, "of those who wait");
    drop(slow);
}

/// Attack: all connections are held by strangers. Then: the oldest of them makes room.
#[tokio::test]
async fn who_only_holds_connections_makes_room() {
    let daemon = program()
        .env("AGENTD_HEADER_TIMEOUT_MS", "3600000")
        .env("AGENTD_MAX_CONNECTIONS_PER_PEER", "10")
        .start();
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(connect(&daemon).await);
    }
    let session = daemon.script("demo", "cat").await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;
    for _ in 0..40 {
        idle.push(connect(&daemon).await);
    }
    // Also those who let others wait for the rest.
    let begun = head(&daemon, "GET /health");
    for stream in &mut idle[70..] {
        // An error means that it had to go.
        let _ = stream.write_all(begun.as_bytes()).await;
    }
    daemon.get("/sessions").await.expect(200);
    terminal.type_keys("hello\r").await;
    terminal.shows("hello").await;
    eventually("the first have had to go", async || {
        idle[..60].iter().all(is_closed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_finds_no_room_is_told_so_and_the_services_own_user_always_finds_some() {
    let daemon = program().env("AGENTD_MAX_CONNECTIONS", "5").start();
    let bearer = format!("Authorization: {}\r\n\r\n", daemon.bearer());
    let known = format!("{}{bearer}", head(&daemon, "GET /sessions"));
    let mut held = Vec::new();
    let refused = loop {
        assert!(held.len() <= 5, "more than there may be");
        let mut stream = connect(&daemon).await;
        stream.write_all(known.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let read = timeout(DEADLINE, stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if !answer.starts_with("HTTP/1.1 200 ") {
            break answer;
        }
        held.push(stream);
    };
    assert!(
        is_refusal(&refused, 503, "too-many-connections"),
        "{refused}"
    );
    assert!(
        own_answer(&daemon, "GET /sessions")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    held.pop();
    eventually("there is room again", async || {
        let answer = answer(&daemon, "GET /health", "").await;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

/// Attack: a flood of requests. Then: 429 for who floods, answers for the others.
#[tokio::test]
async fn too_many_requests_are_refused_and_those_of_others_are_not() {
    let daemon = program().env("AGENTD_MAX_REQUESTS_PER_SECOND", "1").start();
    let health = format!("{}\r\n", head(&daemon, "GET /health"));
    eventually("one too many", async || {
        let last = format!("{}Connection: close\r\n\r\n", head(&daemon, "GET /health"));
        let answers = daemon
            .raw(format!("{}{last}", health.repeat(100)).as_bytes())
            .await;
        let refused = answers.find("HTTP/1.1 429 ");
        let refused = refused.map(|at| answers[at..].to_owned());
        refused.filter(|refused| is_refusal(refused, 429, "too-many-requests"))
    })
    .await;
    // Who may use the service is counted apart.
    let bearer = format!("Authorization: {}\r\n", daemon.bearer());
    eventually("an answer", async || {
        let answer = answer(&daemon, "GET /sessions", &bearer).await;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    for _ in 0..20 {
        let own = own_answer(&daemon, "GET /sessions").await;
        assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
    }
}

/// Attack: tokens are guessed. Then: 429 after a few, and whoever has the token is served.
#[tokio::test]
async fn wrong_credentials_are_soon_refused_unlooked_at() {
    let daemon = program().env("AGENTD_MAX_FAILED_SIGN_INS", "3").start();
    eventually("wrong tokens are refused", async || {
        let wrong = "Authorization: Bearer wrong\r\n";
        let answer = answer(&daemon, "GET /sessions", wrong).await;
        let is_wrong = answer.starts_with("HTTP/1.1 401 ");
        let refused = is_refusal(&answer, 429, "too-many-sign-ins");
        assert!(is_wrong || refused, "{answer}");
        refused.then_some(())
    })
    .await;
    eventually("and so are sign-ins", async || {
        let login = daemon.post("/login", &json!({"token": "wrong"}));
        (login.without_token().await.status == 429).then_some(())
    })
    .await;
    // All users of the machine are at this address.
    daemon.get("/sessions").await.expect(200);
    let own = own_answer(&daemon, "GET /sessions").await;
    assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
}

#[tokio::test]
async fn right_sign_ins_count_for_nothing() {
    let daemon = program().env("AGENTD_MAX_FAILED_SIGN_INS", "3").start();
    let token = std::fs::read_to_string(daemon.state_dir().join("token")).unwrap();
    for _ in 0..10 {
        let login = daemon.post("/login", &json!({"token": token}));
        login.without_token().await.expect(204);
    }
}

/// Attack: a body, a head, or a depth beyond the limits. Then: 413 or 431.
#[tokio::test]
async fn a_request_that_is_too_large_or_too_deep_is_refused() {
    let daemon = program()
        .env("AGENTD_MAX_BODY_BYTES", "2048")
        .env("AGENTD_MAX_HEADER_BYTES", "8192")
        .env("AGENTD_MAX_JSON_DEPTH", "8")
        .start();
    let mut body = daemon.new_session("demo", &["cat"]);
    body["env"] = json!({"LONG": "x".repeat(3000)});
    daemon.create(&body).await.problem(413, "too-large");
    let nested = (0..10).fold(json!(1), |inner: Value, _| json!([inner]));
    body["env"] = json!({});
    body["options"] = json!({"deep": nested});
    daemon.create(&body).await.problem(413, "too-deep");
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    let refused = answer(&daemon, "GET /health", &long).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    // Brackets in a text are none.
    body["options"] = json!({});
    body["env"] = json!({"TEXT": "[[[[[[[[[[[[\"[["});
    daemon.create(&body).await.expect(201);
}

#[tokio::test]
async fn there_are_no_more_sessions_than_there_may_be() {
    let daemon = program().env("AGENTD_MAX_SESSIONS", "2").start();
    let creates = (0..6).map(async |number| {
        let body = daemon.new_session(&format!("demo-{number}"), &["cat"]);
        daemon.create(&body).await
    });
    let answers = join_all(creates).await;
    let made = answers.iter().filter(|answer| answer.status == 201);
    let made: Vec<Value> = made.map(|answer| answer.json()["name"].clone()).collect();
    assert_eq!(made.len(), 2, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.problem(503, "too-many-sessions");
        assert!(!answer.header("retry-after").is_empty());
    }
    let body = daemon.new_session("another", &["cat"]);
    daemon.session(made[0].as_str().unwrap()).delete().await;
    daemon.create(&body).await.expect(201);
    let end = json!({"text": "\u{4}", "submit": false});
    daemon
        .post("/sessions/another/input", &end)
        .await
        .expect(202);
    daemon.session("another").ended().await;
    // One that has ended is none.
    let body = daemon.new_session("last", &["cat"]);
    daemon.create(&body).await.expect(201);
}

#[tokio::test]
async fn a_terminal_has_no_more_viewers_and_takes_no_longer_frames_than_it_may() {
    let daemon = program()
        .env("AGENTD_MAX_VIEWERS", "1")
        .env("AGENTD_MAX_FRAME_BYTES", "1024")
        .start();
    let session = daemon.script("demo", "cat").await;
    let mut first = session.terminal("").await;
    first.hello().await;
    let refused = daemon.get("/sessions/demo/terminal").upgrade().await;
    refused.problem(503, "too-many-viewers");
    assert!(!refused.header("retry-after").is_empty());
    first.send(Message::binary(vec![b'x'; 2000])).await.unwrap();
    assert_eq!(first.closed().await, 1009);
    let bearer = daemon.bearer();
    let headers = [("authorization", bearer.as_str())];
    let mut next = eventually("there is room again", async || {
        daemon
            .terminal("/sessions/demo/terminal", &headers)
            .await
            .ok()
    })
    .await;
    next.hello().await;
}

/// Whether the service holds its end of a connection from there.
fn is_held(daemon: &RunningProgram, client: u16) -> bool {
    let table = std::fs::read_to_string(Path::new("/proc/net/tcp")).unwrap();
    let (local, remote) = (
        format!(":{:04X}", daemon.address().port()),
        format!(":{client:04X}"),
    );
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[2].ends_with(&remote) && fields[9] != "0"
    })
}

/// Attack: somebody asks on and on and reads no answer. Then: the connection is closed.
#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off() {
    let daemon = program().env("AGENTD_WRITE_TIMEOUT_MS", "200").start();
    let stream = connect(&daemon).await;
    let client = stream.local_addr().unwrap().port();
    let (reader, mut writer) = stream.into_split();
    let request = format!("{}\r\n", head(&daemon, "GET /info")).repeat(100);
    let sending = tokio::spawn(async move {
        // Until the service has closed it.
        while writer.write_all(request.as_bytes()).await.is_ok() {}
    });
    eventually("the service has had enough", async || {
        (!is_held(&daemon, client)).then_some(())
    })
    .await;
    drop(reader);
    sending.await.unwrap();
    daemon.get("/sessions").await.expect(200);
}

/// Attack: a viewer never reads. Then: its terminal is closed.
#[tokio::test]
async fn a_viewer_who_never_reads_is_cut_off() {
    let daemon = program().env("AGENTD_WRITE_TIMEOUT_MS", "100").start();
    let session = daemon.script("demo", "exec yes").await;
    let terminal = session.terminal("").await;
    eventually("nobody watches any more", async || {
        (session.show().await.viewers == 0).then_some(())
    })
    .await;
    drop(terminal);
}
