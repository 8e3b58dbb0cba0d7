//! Names under which a page may reach the service that is not its own (DNS rebinding).

use agentd_host::testing::TestServer;

use crate::wrap;

async fn status(server: &TestServer, line: &str, host: &str) -> String {
    let bytes = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    let answer = server.raw(bytes.as_bytes()).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Attack: a name that leads to the machine, in every spelling: other loopback addresses and notations,
/// dots, other ports, users, names that look alike, several in one. Then: 403, or 400.
#[tokio::test]
async fn every_other_spelling_of_a_host_is_refused() {
    let server = wrap("pty");
    let port = server.address.port();
    for name in [
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "127.0.0.2",
        "127.0.0.1.",
        "127.000.000.001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "::1",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::0001]",
        "[::1%25lo]",
        "[::1%lo]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[127.0.0.1]",
        "[localhost]",
        "localhost.",
        "localhost..",
        ".localhost",
        "localhost.localdomain",
        "localhost.evil.example",
        "evil.localhost",
        "localhost6",
        "localhost%00",
        "localhost%2eevil.example",
        "localhost\\",
        "localhost/",
        "localhost?",
        "localhost#",
        "l\u{f6}calhost",
        "\u{ff4c}ocalhost",
        "xn--lclhost-g1a",
        "loca1host",
        "127.0.0.1.nip.example",
        "evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "http://localhost",
        "localhost,evil.example",
        "localhost evil.example",
        "",
        "*",
    ] {
        for host in [format!("{name}:{port}"), name.to_owned()] {
            let host = format!("Host: {host}\r\n");
            for path in ["/info", "/sessions", "/"] {
                let line = format!("GET {path}");
                let status = status(&server, &line, &host).await;
                assert!(["400", "403"].contains(&&*status), "{host:?}: {status}");
            }
        }
    }
    for own in ["localhost", "127.0.0.1", "[::1]"] {
        let upper = own.to_uppercase();
        for (port, allowed) in [
            (format!(":{port}"), true),
            (format!(":0{port}"), false),
            (format!(":+{port}"), false),
            (format!(":{port}0"), false),
            (format!(":{port}:{port}"), false),
            (":".to_owned(), false),
            (String::new(), false),
            (":80".to_owned(), false),
            (format!(":{}", u32::from(port) + 65536), false),
            (format!(":{port}.evil.example"), false),
            (format!(":{port}, localhost:{port}"), false),
        ] {
            for name in [own, upper.as_str()] {
                let host = format!("Host: {name}{port}\r\n");
                let status = status(&server, "GET /info", &host).await;
                let as_expected = match allowed {
                    true => status == "200",
                    false => ["400", "403"].contains(&&*status),
                };
                assert!(as_expected, "{host:?}: {status}");
            }
        }
    }
}

/// Attack: the right host beside a wrong one: two lines, a folded one, a target that names another host or
/// a user. Then: 403, or 400.
#[tokio::test]
async fn a_right_host_does_not_excuse_a_wrong_one() {
    let server = wrap("pty");
    let own = format!("Host: {}\r\n", server.address);
    for (line, host) in [
        ("GET /info", format!("{own}Host: evil.example\r\n")),
        ("GET /info", format!("Host: evil.example\r\n{own}")),
        ("GET /info", format!("Host: evil.example\r\n {own}")),
        ("GET /info", format!(" {own}")),
        ("GET /info", own.replace("Host:", "Host :")),
        ("GET http://evil.example/info", own.clone()),
        ("GET http://evil.example@localhost/info", own.clone()),
        ("GET https://evil.example/info", own.clone()),
        ("GET ws://evil.example/info", own.clone()),
        ("GET /info", String::new()),
    ] {
        let status = status(&server, line, &host).await;
        assert!(
            ["400", "403"].contains(&&*status),
            "{line} {host:?}: {status}"
        );
    }
    let by_user = format!("GET http://evil@{}/info", server.address);
    let status = status(&server, &by_user, &own).await;
    assert!(["400", "403"].contains(&&*status), "{by_user}: {status}");
}
