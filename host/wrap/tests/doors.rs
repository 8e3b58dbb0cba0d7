use std::net::TcpListener;

use agentd_api::Proof;
use agentd_host::testing::{Answer, DEADLINE, TestClient, TestRequest, TestSession};
use rustix::process::Signal;
use serde_json::json;
use warp::http::Method;

use crate::{program, wrap, wrap_with};

const CLOSED: [(&str, &str); 11] = [
    ("GET", "/sessions"),
    ("POST", "/sessions"),
    ("GET", "/sessions/demo"),
    ("DELETE", "/sessions/demo"),
    ("POST", "/sessions/demo/input"),
    ("POST", "/sessions/demo/keys"),
    ("GET", "/sessions/demo/logs"),
    ("GET", "/backend"),
    ("POST", "/tickets"),
    ("POST", "/login/codes"),
    ("POST", "/logout"),
];

fn method(name: &str) -> Method {
    name.parse().unwrap()
}

/// Attack: requests without the token, with a part of it, or with one that is longer. Then: 401 on every
/// route that is not open.
#[tokio::test]
async fn without_the_token_only_open_routes_answer() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    for (name, path) in CLOSED {
        let ask = || {
            server
                .request(method(name), path)
                .header("content-type", "application/json")
        };
        let answer = ask().without_token().body("{}").await;
        let problem = answer.problem(401, "unauthorized");
        assert!(problem.hint.unwrap().contains("Authorization: Bearer"));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let wrong = server.token.replace(|_| true, "0");
        for token in [
            "",
            "wrong",
            &wrong,
            &server.token[1..],
            &format!("{}0", server.token),
        ] {
            ask()
                .token(token)
                .body("{}")
                .await
                .problem(401, "unauthorized");
        }
    }
    demo.show().await;
}

/// Attack: somebody without the token finds out which sessions there are. Then: 401 for those that are
/// there and for those that are not.
#[tokio::test]
async fn without_the_token_unknown_paths_look_like_known_ones() {
    let server = wrap("pty");
    let answer = server.get("/sessions/nobody").without_token().await;
    answer.problem(401, "unauthorized");
    let terminal = server.get("/sessions/nobody/terminal").upgrade();
    terminal.without_token().await.problem(401, "unauthorized");
}

/// Attack: the token in an address, where logs and histories keep it. Then: 401.
#[tokio::test]
async fn a_token_in_the_query_is_refused() {
    let server = wrap("pty");
    server.start("demo", &["cat"]).await;
    let token = &server.token;
    for name in ["token", "access_token", "ticket", "key"] {
        for path in ["/sessions", "/sessions/demo", "/sessions/demo/terminal"] {
            let path = format!("{path}?{name}={token}");
            let answer = server.get(&path).upgrade().without_token().await;
            answer.problem(401, "unauthorized");
        }
    }
}

/// Attack: the token under another scheme than its own. Then: 401.
#[tokio::test]
async fn other_schemes_than_bearer_are_refused() {
    let server = wrap("pty");
    let token = &server.token;
    for value in [
        format!("Basic {token}"),
        format!("Bearer{token}"),
        token.clone(),
        String::new(),
    ] {
        let answer = server
            .get("/sessions")
            .without_token()
            .header("authorization", &value)
            .await;
        answer.problem(401, "unauthorized");
    }
    let bearer = format!("bEaReR  {token}");
    let answer = server
        .get("/sessions")
        .without_token()
        .header("authorization", &bearer)
        .await;
    answer.expect(200);
}

/// Attack: a WebSocket without the token, which many servers forget to look at. Then: 401 before the
/// upgrade.
#[tokio::test]
async fn a_terminal_wants_the_token() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let path = format!("{}/terminal", demo.path);
    assert_eq!(server.terminal(&path, &[]).await.unwrap_err(), 401);
    let wrong = server
        .terminal(&path, &[("authorization", "Bearer wrong")])
        .await;
    assert_eq!(wrong.unwrap_err(), 401);
    assert_eq!(demo.show().await.viewers, 0);
}

/// Attack: a page reaches the service by a name of its own (DNS rebinding), with the token. Then: 403 on
/// every route, the open ones and the terminal included.
#[tokio::test]
async fn foreign_hosts_are_refused_everywhere() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let port = server.address.port();
    let other_port = format!("localhost:{}", port ^ 1);
    let terminal = format!("{}/terminal", demo.path);
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "localhost",
        &other_port,
    ] {
        for path in ["/info", "/health", "/sessions", "/", &terminal] {
            let answer = server.get(path).upgrade().header("host", host).await;
            answer.problem(403, "host-not-allowed");
        }
        let login = server.post("/login", &json!({"token": server.token}));
        login
            .header("host", host)
            .await
            .problem(403, "host-not-allowed");
    }
    for name in ["localhost", "LocalHost", "127.0.0.1", "[::1]"] {
        let host = format!("{name}:{port}");
        server
            .get("/sessions")
            .header("host", &host)
            .await
            .expect(200);
    }
}

/// Attack: a request without `Host`, with two, or with another one in its target. Then: 400 or 403.
#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let server = wrap("pty");
    let own = format!("Host: {}\r\n", server.address);
    let ask = async |line: &str, hosts: &str| {
        let request = format!("{line}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes()).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("GET /info HTTP/1.1", &own).await, "200");
    assert_eq!(ask("GET /info HTTP/1.0", "").await, "403");
    let two = format!("{own}Host: evil.example\r\n");
    assert!(matches!(
        ask("GET /info HTTP/1.1", &two).await.as_str(),
        "400" | "403"
    ));
    let absolute = "GET http://evil.example/info HTTP/1.1";
    assert!(matches!(ask(absolute, &own).await.as_str(), "400" | "403"));
}

/// Attack: a page of another site, of another port, of another scheme, of `null` or of an empty origin
/// asks, or opens a terminal, with the token. Then: 403 on every route.
#[tokio::test]
async fn foreign_pages_are_refused_everywhere() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let port = server.address.port();
    let tls = format!("https://localhost:{port}");
    let terminal = format!("{}/terminal", demo.path);
    let bearer = server.bearer();
    for origin in [
        "http://evil.example",
        "http://localhost:3000",
        "null",
        "",
        &tls,
    ] {
        for path in ["/info", "/sessions", &terminal] {
            let answer = server.get(path).upgrade().header("origin", origin).await;
            answer.problem(403, "origin-not-allowed");
        }
        let login = server.post("/login", &json!({"token": server.token}));
        login
            .header("origin", origin)
            .await
            .problem(403, "origin-not-allowed");
        let headers = [("authorization", bearer.as_str()), ("origin", origin)];
        assert_eq!(server.terminal(&terminal, &headers).await.unwrap_err(), 403);
    }
    let own = format!("http://localhost:{port}");
    server
        .get("/sessions")
        .header("origin", &own)
        .await
        .expect(200);
    let headers = [("authorization", bearer.as_str()), ("origin", own.as_str())];
    server
        .terminal(&terminal, &headers)
        .await
        .unwrap()
        .hello()
        .await;
}

#[tokio::test]
async fn hosts_and_pages_can_be_added() {
    let flags = [
        "--allowed-hosts=agents.example",
        "--allowed-origins=https://agents.example",
    ];
    let server = wrap_with("pty", &flags);
    let ask = |host: &str, origin: &str| {
        server
            .get("/info")
            .header("host", host)
            .header("origin", origin)
    };
    ask("agents.example", "https://agents.example")
        .await
        .expect(200);
    ask("agents.example:443", "https://agents.example")
        .await
        .expect(200);
    ask("other.example", "https://agents.example")
        .await
        .expect(403);
    ask("agents.example", "https://other.example")
        .await
        .expect(403);
    server.get("/info").await.expect(200);
}

/// Attack: the lists of hosts and origins are set and empty, and a request has an empty `Host` or
/// `Origin`. Then: 403, or 400.
#[tokio::test]
async fn empty_names_and_pages_add_none() {
    let flags = ["--allowed-hosts=, ,", "--allowed-origins="];
    let server = wrap_with("pty", &flags);
    let port = server.address.port();
    for host in ["", ":", ":80", " ", &format!(":{port}")] {
        let request = format!("GET /info HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap();
        assert!(matches!(status, "400" | "403"), "{host:?}: {answer}");
    }
    for origin in ["", "http://", "http://:80"] {
        let answer = server.get("/info").header("origin", origin).await;
        answer.problem(403, "origin-not-allowed");
    }
    server.get("/info").await.expect(200);
}

/// Attack: an answer is kept by a browser or a proxy, or taken for a page. Then: every answer has
/// `no-store` and `nosniff`.
#[tokio::test]
async fn no_answer_is_kept_or_taken_for_what_it_is_not() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let logs = format!("{}/logs", demo.path);
    let paths = [
        "/health",
        "/info",
        "/sessions",
        &demo.path,
        &logs,
        "/nowhere",
    ];
    for path in paths {
        for token in [&server.token, "wrong"] {
            let answer = server.get(path).token(token).await;
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        }
    }
    let foreign = server.get("/info").header("host", "evil.example").await;
    assert_eq!(foreign.header("cache-control"), "no-store");
}

/// Attack: a page of another site asks whether it may read answers. Then: no answer allows it, and the
/// question is answered with 403.
#[tokio::test]
async fn no_page_of_another_origin_may_read_an_answer() {
    let server = wrap("pty");
    for path in ["/info", "/sessions"] {
        let answer = server.get(path).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let preflight = server.request(Method::OPTIONS, "/sessions");
    let answer = preflight.header("origin", "http://evil.example").await;
    answer.problem(403, "origin-not-allowed");
}

/// A browser's two halves of a sign-in.
struct Browser {
    cookie: String,
    key: String,
}

impl Browser {
    fn new(login: &Answer) -> Self {
        let cookie = login.header("set-cookie");
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        Browser {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            key: login.header("agentd-key").to_owned(),
        }
    }

    async fn sign_in(client: &TestClient) -> Self {
        let login = client.post("/login", &json!({"token": client.token}));
        Browser::new(&login.without_token().await.expect(204))
    }

    /// A request of it.
    fn ask(&self, client: &TestClient, method: Method, path: &str) -> TestRequest {
        let request = client.request(method, path).without_token();
        let request = request.header("cookie", &self.cookie);
        request.header("agentd-key", &self.key)
    }

    /// The path of a terminal with a ticket for it.
    async fn terminal(&self, client: &TestClient, session: &TestSession) -> String {
        let made = self.ask(client, Method::POST, "/tickets").await.expect(201);
        let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
        format!("{}/terminal?ticket={ticket}", session.path)
    }

    async fn status(&self, client: &TestClient, path: &str) -> u16 {
        let request = client.get(path).without_token();
        let answer = request
            .header("cookie", &self.cookie)
            .header("agentd-key", &self.key);
        answer.await.status
    }
}

#[tokio::test]
async fn a_browser_signs_in_with_the_token() {
    let server = wrap("pty");
    let browser = Browser::sign_in(&server).await;
    let name = format!("agentd_{}_", server.address.port());
    assert!(browser.cookie.starts_with(&name), "{}", browser.cookie);
    assert_eq!(browser.status(&server, "/sessions").await, 200);
    for body in [
        json!({"token": "wrong"}),
        json!({"code": "wrong"}),
        json!({}),
        json!({"token": ""}),
    ] {
        let login = server.post("/login", &body).without_token().await;
        login.problem(401, "unauthorized");
        assert_eq!(login.header("set-cookie"), "");
    }
}

/// Attack: the cookie of a sign-in without its key, the key without the cookie, or halves of two
/// sign-ins, as another port's page can set or read a cookie. Then: 401.
#[tokio::test]
async fn one_half_of_a_sign_in_is_refused() {
    let server = wrap("pty");
    let (first, second) = (
        Browser::sign_in(&server).await,
        Browser::sign_in(&server).await,
    );
    let sessions = || server.get("/sessions").without_token();
    sessions()
        .header("cookie", &first.cookie)
        .await
        .problem(401, "unauthorized");
    sessions()
        .header("agentd-key", &first.key)
        .await
        .problem(401, "unauthorized");
    let mixed = Browser {
        cookie: first.cookie.clone(),
        key: second.key.clone(),
    };
    assert_eq!(mixed.status(&server, "/sessions").await, 401);
    let demo = server.start("demo", &["cat"]).await;
    let terminal = format!("{}/terminal", demo.path);
    let opened = server
        .terminal(&terminal, &[("cookie", &first.cookie)])
        .await;
    assert_eq!(opened.unwrap_err(), 401);
}

/// Attack: a sign-in at one service is used at another one on the same machine. Then: 401.
#[tokio::test]
async fn a_sign_in_is_for_one_service() {
    let (server, other) = (wrap("pty"), wrap("pty"));
    let browser = Browser::sign_in(&server).await;
    assert_eq!(browser.status(&other, "/sessions").await, 401);
}

#[tokio::test]
async fn a_browser_signs_out() {
    let server = wrap("pty");
    let (browser, other) = (
        Browser::sign_in(&server).await,
        Browser::sign_in(&server).await,
    );
    let logout = server.request(Method::POST, "/logout").without_token();
    let logout = logout
        .header("cookie", &browser.cookie)
        .header("agentd-key", &browser.key);
    logout.await.expect(204);
    assert_eq!(browser.status(&server, "/sessions").await, 401);
    assert_eq!(other.status(&server, "/sessions").await, 200);
}

/// Attack: a terminal, a log and a ticket of a browser outlive its sign-out. Then: they end with 4003,
/// and the ticket opens nothing.
#[tokio::test]
async fn what_a_browser_has_open_ends_when_it_signs_out() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let (browser, other) = (
        Browser::sign_in(&server).await,
        Browser::sign_in(&server).await,
    );
    let open = async |browser: &Browser| {
        let path = browser.terminal(&server, &demo).await;
        let mut terminal = server.terminal(&path, &[]).await.unwrap();
        terminal.hello().await;
        terminal
    };
    let (mut terminal, mut stays) = (open(&browser).await, open(&other).await);
    let unused = browser.terminal(&server, &demo).await;
    let logs = format!("{}/logs?follow=true", demo.path);
    let follows = browser.ask(&server, Method::GET, &logs).stream().await;

    let signed_out = browser.ask(&server, Method::POST, "/logout").await;
    let removed = signed_out.expect(204).header("set-cookie").to_owned();
    let (name, _) = browser.cookie.split_once('=').unwrap();
    assert!(removed.starts_with(&format!("{name}=;")), "{removed}");
    assert!(removed.ends_with("Max-Age=0"), "{removed}");
    assert_eq!(terminal.closed().await, 4003);
    let follows = tokio::time::timeout(DEADLINE, follows.bytes()).await;
    follows.expect("the log is followed no longer").unwrap();
    assert_eq!(server.terminal(&unused, &[]).await.unwrap_err(), 401);
    stays.type_keys("still here\r").await;
    stays.shows("still here").await;
}

/// Attack: a sign-in that was ended is used after the service was killed and started again; the file of
/// sign-ins is read. Then: 401, and nothing in the file lets anybody in.
#[tokio::test]
async fn a_sign_in_survives_a_restart_and_a_sign_out_too() {
    let free = |listener: TcpListener| listener.local_addr().unwrap().port();
    let port = free(TcpListener::bind("127.0.0.1:0").unwrap());
    let mut daemon = program().start_at(port).await;
    let (stays, leaves) = (
        Browser::sign_in(&daemon).await,
        Browser::sign_in(&daemon).await,
    );
    let logout = leaves.ask(&daemon, Method::POST, "/logout");
    logout.await.expect(204);
    let file = daemon
        .state_dir()
        .join(format!("sign-ins-agentd-wrap-{port}"));
    let kept = std::fs::read_to_string(file).unwrap();
    for secret in [&stays.key, stays.cookie.split_once('=').unwrap().1] {
        assert!(!kept.contains(secret), "{kept}");
    }
    // Killed: what was answered is on the disk.
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    let daemon = program().start_at_after(port, daemon).await;
    assert_eq!(stays.status(&daemon, "/sessions").await, 200);
    assert_eq!(leaves.status(&daemon, "/sessions").await, 401);
}

/// Attack: a one-time code is used again, or as a token. Then: 401.
#[tokio::test]
async fn a_one_time_code_signs_in_once() {
    let server = wrap("pty");
    let made = server
        .request(Method::POST, "/login/codes")
        .await
        .expect(201)
        .json();
    let code = made["code"].as_str().unwrap();
    let url = made["url"].as_str().unwrap();
    assert_eq!(url, format!("http://{}/#code={code}", server.address));
    let login = || {
        server
            .post("/login", &json!({"code": code}))
            .without_token()
    };
    let browser = Browser::new(&login().await.expect(204));
    assert_eq!(browser.status(&server, "/sessions").await, 200);
    login().await.problem(401, "unauthorized");
    // Nor is it a token or a ticket.
    server
        .get("/sessions")
        .token(code)
        .await
        .problem(401, "unauthorized");
}

/// Attack: a ticket is used again. Then: 401.
#[tokio::test]
async fn a_ticket_opens_one_terminal_once() {
    let server = wrap("pty");
    let demo = server.start("demo", &["cat"]).await;
    let made = server.request(Method::POST, "/tickets").await.expect(201);
    let made = made.json();
    assert_eq!(made["expires_in"], 30);
    let path = format!(
        "{}/terminal?ticket={}",
        demo.path,
        made["ticket"].as_str().unwrap()
    );
    let mut terminal = server.terminal(&path, &[]).await.unwrap();
    terminal.type_keys("let in\r").await;
    terminal.shows("let in").await;
    assert_eq!(server.terminal(&path, &[]).await.unwrap_err(), 401);
    terminal.type_keys("still in\r").await;
    terminal.shows("still in").await;
}

/// Attack: a ticket is used as a token, a code, or for another route. Then: 401.
#[tokio::test]
async fn a_ticket_is_accepted_only_by_terminals() {
    let server = wrap("pty");
    let made = server
        .request(Method::POST, "/tickets")
        .await
        .expect(201)
        .json();
    let ticket = made["ticket"].as_str().unwrap();
    let answer = server
        .get(&format!("/sessions?ticket={ticket}"))
        .without_token()
        .await;
    answer.problem(401, "unauthorized");
    server
        .get("/sessions")
        .token(ticket)
        .await
        .problem(401, "unauthorized");
    let login = server
        .post("/login", &json!({"code": ticket}))
        .without_token()
        .await;
    login.problem(401, "unauthorized");
}

/// Attack: what was derived from the token for one service is shown to another one, or made without the
/// token. Then: 401.
#[tokio::test]
async fn the_service_proves_itself_and_takes_what_is_derived_from_the_token() {
    let (server, other) = (wrap("pty"), wrap("pty"));
    let nonce = "a nonce of 16 to 128 bytes".replace(' ', "-");
    let prove = async |server: &TestClient| -> Proof {
        let answer = server.get(&format!("/proof?nonce={nonce}")).without_token();
        answer.await.expect(200).parse()
    };
    let proof = prove(&server).await;
    assert!(proof.is_with(&server.token, &nonce));
    assert_eq!(proof.address, server.address.to_string());
    let ask = async |client: &TestClient, credential: &str| {
        let request = client.get("/sessions").without_token();
        let header = format!("Agentd {credential}");
        request.header("authorization", &header).await.status
    };
    let credential = proof.credential(&server.token, &nonce);
    assert_eq!(ask(&server, &credential).await, 200);
    for wrong in [
        String::new(),
        nonce.clone(),
        format!("{nonce}."),
        proof.credential("another token", &nonce),
        format!("{nonce}.{}", proof.proof),
        // Made for another service, or for another life of this one.
        prove(&other).await.credential(&server.token, &nonce),
    ] {
        assert_eq!(ask(&server, &wrong).await, 401, "{wrong}");
    }
    for query in ["", "?nonce=short", &format!("?nonce={}", "x".repeat(129))] {
        let answer = server.get(&format!("/proof{query}")).without_token();
        answer.await.problem(400, "invalid-query");
    }
}

/// Attack: a page of another site reaches a service without authentication. Then: 403.
#[tokio::test]
async fn without_authentication_hosts_and_pages_are_still_checked() {
    let server = wrap_with("pty", &["--auth=off"]);
    server.get("/sessions").without_token().await.expect(200);
    let demo = server.start("demo", &["cat"]).await;
    let terminal = format!("{}/terminal", demo.path);
    server.terminal(&terminal, &[]).await.unwrap().hello().await;
    let foreign = server.get("/sessions").header("host", "evil.example").await;
    foreign.problem(403, "host-not-allowed");
    let foreign = server
        .terminal(&terminal, &[("origin", "http://evil.example")])
        .await;
    assert_eq!(foreign.unwrap_err(), 403);
}
