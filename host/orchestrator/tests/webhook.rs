//! What happens to agents, sent to an address of the operator's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use agentd_api::webhook_signature;
use agentd_host::testing::{DEADLINE, TestServer, eventually};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::program::program;

const SECRET: &str = "a secret of the test";

/// How a receiver treats a request.
#[derive(Clone, Copy)]
enum Treatment {
    Answer(&'static str),
    Close,
    /// It never answers.
    Hang,
}

/// Takes what the service sends.
struct Receiver {
    url: String,
    treatments: Arc<Mutex<VecDeque<Treatment>>>,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// What was sent.
#[derive(Debug)]
struct Request {
    head: String,
    body: String,
}

impl Receiver {
    /// Treats the first requests so, and takes the others.
    async fn open(treatments: &[Treatment]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let treatments: VecDeque<_> = treatments.iter().copied().collect();
        let treatments = Arc::new(Mutex::new(treatments));
        let (sender, requests) = mpsc::unbounded_channel();
        let shared = treatments.clone();
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), sender.clone()));
            }
        });
        Receiver {
            url,
            treatments,
            requests,
        }
    }

    fn orchestrator(&self, more: &[&str]) -> TestServer {
        let url = format!("--webhook-url={}", self.url);
        let secret = format!("--webhook-secret={SECRET}");
        let flags = [&[url.as_str(), &secret, "--webhook-backoff-ms=10"], more].concat();
        let service = &agentd_orchestrator::SERVICE;
        TestServer::start(service, agentd_orchestrator::server, "pty", &flags)
    }

    async fn next(&mut self) -> Request {
        let next = timeout(DEADLINE, self.requests.recv()).await;
        next.expect("a request in time").unwrap()
    }

    /// All up to the event of this kind.
    async fn until(&mut self, kind: &str) -> Vec<Request> {
        let mut requests = Vec::new();
        loop {
            let request = self.next().await;
            let is_last = request.json()["event"] == kind;
            requests.push(request);
            if is_last {
                return requests;
            }
        }
    }
}

impl Request {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let line = self.head.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{name} in {}", self.head))
    }
}

async fn serve(
    stream: TcpStream,
    treatments: Arc<Mutex<VecDeque<Treatment>>>,
    sender: mpsc::UnboundedSender<Request>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match stream.read_line(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        let _ = sender.send(Request { head, body });
        let treatment = treatments.lock().unwrap().pop_front();
        let status = match treatment.unwrap_or(Treatment::Answer("204 No Content")) {
            Treatment::Answer(status) => status,
            Treatment::Close => return,
            Treatment::Hang => std::future::pending().await,
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn health(server: &TestServer) -> Value {
    let health: Value = server.get("/health?verbose=1").await.expect(200).json();
    health["webhook"].clone()
}

const SCRIPT: &str = r"printf '\033]2;t-secret\007\033]9;r-secret\007'; read a; exit 7";

#[tokio::test]
async fn activity_and_ends_are_sent_signed_and_without_output() {
    let mut receiver = Receiver::open(&[]).await;
    let server = receiver.orchestrator(&[]);
    let agent = server.script("demo", SCRIPT).await;
    let mut sent = Vec::new();
    while !sent
        .iter()
        .any(|it: &Request| it.json()["activity"]["state"] == "waiting")
    {
        sent.extend(receiver.until("activity").await);
    }
    agent.prompt("go").await.expect(202);
    sent.extend(receiver.until("exited").await);
    let last = sent.last().unwrap().json();
    assert_eq!(last["agent"]["name"], "demo");
    assert_eq!(last["agent"]["status"], "failed");
    assert_eq!(last["exit"]["code"], 7);
    for request in &sent {
        let timestamp = request.header("agentd-timestamp");
        let signature = webhook_signature(SECRET, timestamp, request.body.as_bytes());
        assert_eq!(request.header("agentd-signature"), signature);
        assert_eq!(
            request.json()["delivery"],
            request.header("agentd-delivery")
        );
        assert!(
            request.head.starts_with("post /hook http/1.1"),
            "{request:?}"
        );
        assert!(!request.body.contains("-secret"), "{request:?}");
        assert!(!request.head.contains("authorization"), "{request:?}");
    }
}

#[tokio::test]
async fn reasons_are_sent_where_that_is_wanted() {
    let mut receiver = Receiver::open(&[]).await;
    let server = receiver.orchestrator(&["--webhook-output=on"]);
    let _agent = server.script("demo", SCRIPT).await;
    loop {
        let activity = receiver.until("activity").await.pop().unwrap().json();
        if activity["activity"]["reason"] == "r-secret" {
            return;
        }
    }
}

/// Fault: the receiver of a webhook answers 500, leads elsewhere, or closes. Then: the same event is sent
/// again until it is taken, in order, and no redirect is followed.
#[tokio::test]
async fn what_is_not_taken_is_sent_again() {
    use Treatment::{Answer, Close};
    let treatments = [
        Answer("500 Internal Server Error"),
        Answer("307 Temporary Redirect\r\nlocation: /elsewhere"),
        Close,
    ];
    let mut receiver = Receiver::open(&treatments).await;
    let server = receiver.orchestrator(&[]);
    server.start("demo", &["sh", "-c", "exit 3"]).await;
    let sent = receiver.until("exited").await;
    // The first event took three attempts more than it needs, whichever it was.
    let mut sent = sent.into_iter().collect::<VecDeque<_>>();
    while sent.len() < 4 {
        sent.push_back(receiver.next().await);
    }
    let first = sent[0].header("agentd-delivery").to_owned();
    for repetition in sent.iter().take(4) {
        assert!(repetition.head.starts_with("post /hook "), "{repetition:?}");
        assert_eq!(repetition.header("agentd-delivery"), first);
        assert_eq!(repetition.body, sent[0].body);
    }
    eventually("all to be taken", async || {
        let health = health(&server).await;
        let is_well = health["dropped"] == 0 && health["error"].is_null();
        (health["queued"] == 0 && is_well).then_some(())
    })
    .await;
}

/// Fault: the receiver of a webhook takes requests and never answers. Then: nobody else notices, the
/// health says so, and the event is sent again.
#[tokio::test]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let mut receiver = Receiver::open(&[Treatment::Hang]).await;
    let server = receiver.orchestrator(&["--webhook-timeout-ms=3600000"]);
    server.start("first", &["sh", "-c", "exit 3"]).await;
    receiver.next().await;
    for name in ["second", "third"] {
        let agent = server.start(name, &["sh", "-c", "exit 4"]).await;
        agent
            .until("its end", |session| session.exit.is_some())
            .await;
    }
    eventually("the others to wait", async || {
        (health(&server).await["queued"].as_u64() > Some(2)).then_some(())
    })
    .await;
    drop(server);

    receiver
        .treatments
        .lock()
        .unwrap()
        .push_back(Treatment::Hang);
    let server = receiver.orchestrator(&["--webhook-timeout-ms=1000"]);
    server.start("demo", &["sh", "-c", "exit 3"]).await;
    let first = receiver.next().await;
    let again = receiver.next().await;
    assert_eq!(first.body, again.body);
}

/// Attack: a program reads the health without credentials. Then: it learns no reason of a failure.
#[tokio::test]
async fn a_dead_receiver_is_in_the_health_of_those_who_may_know() {
    let secret = format!("--webhook-secret={SECRET}");
    let flags = ["--webhook-url=http://127.0.0.1:9/path-secret", &secret];
    let service = &agentd_orchestrator::SERVICE;
    let server = TestServer::start(service, agentd_orchestrator::server, "pty", &flags);
    server.start("demo", &["sh", "-c", "exit 3"]).await;
    eventually("the failure", async || {
        let health = health(&server).await;
        let error = health["error"].as_str().unwrap_or_default();
        assert!(!error.contains("path-secret"), "{error}");
        let is_queued = health["queued"].as_u64() > Some(0);
        (error.contains("cannot reach") && is_queued).then_some(())
    })
    .await;
    let open = server.get("/health?verbose=1").without_token().await;
    let open: Value = open.expect(200).json();
    assert!(open["webhook"].is_object(), "{open}");
    assert!(open["webhook"]["error"].is_null(), "{open}");
}

#[tokio::test]
async fn a_webhook_that_is_set_wrongly_ends_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let start = async |variables: &[(&str, &str)]| {
        let mut program = program();
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let ended = program.ends().await;
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(!ended.stderr.contains("path-secret"), "{}", ended.stderr);
        ended.stderr
    };
    let url = ("AGENTD_WEBHOOK_URL", "http://127.0.0.1:9/path-secret");
    assert!(
        start(&[url])
            .await
            .contains("there is no secret to sign with")
    );
    let secret = ("AGENTD_WEBHOOK_SECRET", SECRET);
    let wrong = ("AGENTD_WEBHOOK_URL", "ftp://host/path-secret");
    assert!(
        start(&[wrong, secret])
            .await
            .contains("it must begin with `https://`")
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = ("AGENTD_WEBHOOK_SECRET_FILE", path.to_str().unwrap());
    assert!(
        start(&[url, file])
            .await
            .contains("others can read or change")
    );
    assert!(start(&[url, file, secret]).await.contains("are both set"));
}
