//! What goes between the service and its clients over TCP, where others could read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentd_host::testing::{Certificate, RunningProgram, TestClient, eventually};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::program;

/// The beginning of a client's first message of TLS, which never goes on.
const HALF_A_HANDSHAKE: [u8; 7] = [22, 3, 1, 2, 0, 1, 0];

/// A message of TLS that is too short for what it says to be.
const NO_HANDSHAKE: [u8; 10] = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];

/// How many connections of TLS one address asks for: more than come about during a test, with one per second.
const ASKING: usize = 400;

/// Whether the service can be reached by somebody who trusts that certificate.
async fn is_reached(client: &TestClient, certificate: &Certificate) -> bool {
    let health = client.trusting(certificate).get("/health");
    let answer = health.unless_cut().await;
    answer.is_some_and(|answer| answer.status == 200)
}

async fn connect(daemon: &RunningProgram) -> TcpStream {
    TcpStream::connect(daemon.address()).await.unwrap()
}

#[track_caller]
fn is_quiet(daemon: &RunningProgram) {
    let log = daemon.log();
    assert!(!log.contains(" WARN ") && !log.contains("ERROR "), "{log}");
}

/// The message and hints of a start that fails for its settings.
async fn refused(settings: &[(&str, &str)]) -> String {
    let set = settings
        .iter()
        .fold(program(), |program, (name, value)| program.env(name, value));
    let ended = set.ends().await;
    assert_eq!(ended.code, Some(78), "{settings:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let (_, error) = ended.stderr.split_once("Error: ").unwrap();
    assert!(error.contains("\nhint: "), "{error}");
    error.to_owned()
}

/// Attack: a service is started for other machines without TLS. Then: it does not start.
#[tokio::test]
async fn other_machines_reach_no_service_without_tls() {
    for host in ["0.0.0.0", "::"] {
        let error = refused(&[("AGENTD_HOST", host)]).await;
        let said = format!("other machines can reach `{host}`, and there is no TLS\n");
        assert!(error.starts_with(&said), "{error}");
        for variable in [
            "AGENTD_TLS_CERT",
            "AGENTD_TLS_KEY",
            "AGENTD_TRUSTED_PROXIES",
        ] {
            assert!(error.contains(variable), "{error}");
        }
    }
    let proxies = ("AGENTD_TRUSTED_PROXIES", "192.0.2.1");
    let believed = refused(&[("AGENTD_HOST", "0.0.0.0"), proxies]).await;
    assert!(believed.contains("there is no TLS"), "{believed}");
    let unknown = refused(&[("AGENTD_BEHIND_TLS_PROXY", "true")]).await;
    assert!(
        unknown.contains("AGENTD_TRUSTED_PROXIES is not"),
        "{unknown}"
    );
    let wrong = refused(&[("AGENTD_TRUSTED_PROXIES", "127.0.0.1,proxy")]).await;
    assert!(wrong.contains("`proxy` is not an address"), "{wrong}");
    let daemon = program()
        .env("AGENTD_HOST", "0.0.0.0")
        .env("AGENTD_ALLOWED_HOSTS", "0.0.0.0")
        .env(proxies.0, proxies.1)
        .arg("--behind-tls-proxy")
        .start();
    daemon.get("/sessions").await.expect(200);
}

/// Attack: others can read or change the key of a certificate, or a directory above it. Then: the service
/// does not start, and says what mends it.
#[tokio::test]
async fn a_certificate_that_cannot_be_used_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = Certificate::new().save(directory.path());
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let (_, other_key) = Certificate::new().save(&other);
    let no_key = directory.path().join("no-key.pem");
    fs::copy(&key, &no_key).unwrap();
    fs::write(&no_key, fs::read(&cert).unwrap()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key, other_key) = (text(&cert), text(&key), text(&other_key));
    let no_key = text(&no_key);
    let start = async |cert: &str, key: &str| {
        refused(&[("AGENTD_TLS_CERT", cert), ("AGENTD_TLS_KEY", key)]).await
    };
    let missing = refused(&[("AGENTD_TLS_CERT", &cert)]).await;
    assert!(missing.starts_with("AGENTD_TLS_CERT is set, and AGENTD_TLS_KEY is not"));
    assert!(
        start("/nowhere", &key)
            .await
            .starts_with("`/nowhere` cannot be read: ")
    );
    assert!(
        start(&key, &key)
            .await
            .contains("holds no certificate in PEM")
    );
    assert!(
        start(&cert, &no_key)
            .await
            .contains("holds no private key in PEM")
    );
    assert!(start(&cert, &other_key).await.contains("cannot be used: "));
    for mode in [0o777, 0o1777] {
        let (own, open) = (
            fs::Permissions::from_mode(0o700),
            fs::Permissions::from_mode(mode),
        );
        fs::set_permissions(directory.path(), open).unwrap();
        let exposed = start(&cert, &key).await;
        fs::set_permissions(directory.path(), own).unwrap();
        let said = format!("the key `{key}` is not used because it is below `");
        assert!(exposed.starts_with(&said), "{mode:o}: {exposed}");
        assert!(exposed.contains("\nhint: "), "{exposed}");
    }
    for mode in [0o604, 0o644, 0o602] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let exposed = start(&cert, &key).await;
        let said = format!("the key `{key}` is not used because it can be ");
        assert!(exposed.starts_with(&said), "{mode:o}: {exposed}");
        assert!(
            exposed.contains("hint: take the right away: `chmod "),
            "{exposed}"
        );
    }
}

#[tokio::test]
async fn everything_goes_by_tls() {
    let certificate = Certificate::new();
    let daemon = program()
        .tls(&certificate)
        .env("AGENTD_TLS_HANDSHAKE_TIMEOUT_MS", "3600000")
        .start();
    let url = format!("https://{}", daemon.address());
    let listens = format!("listening on {url}");
    eventually("its address in the log", async || {
        daemon.log().contains(&listens).then_some(())
    })
    .await;
    let (session, mut terminal) = daemon.use_normally().await;

    let sign_in = daemon.post("/login", &json!({"token": daemon.token}));
    let sign_in = sign_in
        .header("origin", &url)
        .without_token()
        .await
        .expect(204);
    let cookie = sign_in.header("set-cookie");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let code = daemon
        .post("/login/codes", &json!({}))
        .await
        .expect(201)
        .json();
    let page = code["url"].as_str().unwrap();
    assert!(page.starts_with(&format!("{url}/#code=")), "{page}");
    let plain_page = url.replace("https", "http");
    let plain_page = daemon.get("/sessions").header("origin", &plain_page).await;
    plain_page.problem(403, "origin-not-allowed");

    assert!(!is_reached(&daemon, &Certificate::new()).await);
    let mut wrong = connect(&daemon).await;
    wrong.write_all(&NO_HANDSHAKE).await.unwrap();
    let mut alert = Vec::new();
    // An error means that the service did not wait for more.
    let _ = wrong.read_to_end(&mut alert).await;
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    let host = daemon.address();
    let plain = format!("GET /sessions HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = daemon.raw(plain.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("\"code\":\"tls-required\""), "{answer}");
    session.delete().await;
    assert_eq!(terminal.closed().await, 4004);
    is_quiet(&daemon);
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_sighup_and_what_is_open_stays() {
    let (first, second) = (Certificate::new(), Certificate::new());
    let daemon = program().tls(&first).start();
    let session = daemon.script("demo", "cat").await;
    let mut terminal = session.terminal("").await;
    terminal.hello().await;

    second.save(daemon.directory());
    assert!(!is_reached(&daemon, &second).await);
    daemon.signal(Signal::HUP);
    eventually("the new certificate", async || {
        is_reached(&daemon, &second).await.then_some(())
    })
    .await;
    assert!(!is_reached(&daemon, &first).await);

    fs::write(daemon.directory().join("cert.pem"), "not yet written").unwrap();
    daemon.signal(Signal::HUP);
    eventually("that it is of no use", async || {
        let log = daemon.log();
        log.contains("the old certificate stays: ").then_some(())
    })
    .await;
    assert!(is_reached(&daemon, &second).await);

    terminal.type_keys("still here\r").await;
    terminal.shows("still here").await;
}

/// Attack: a connection of TLS that never comes about. Then: it is closed.
#[tokio::test]
async fn who_does_not_take_part_in_tls_is_cut_off() {
    let daemon = program()
        .tls(&Certificate::new())
        .env("AGENTD_TLS_HANDSHAKE_TIMEOUT_MS", "100")
        .start();
    let mut silent = connect(&daemon).await;
    let mut half = connect(&daemon).await;
    half.write_all(&HALF_A_HANDSHAKE).await.unwrap();
    for stream in [&mut silent, &mut half] {
        let mut sent = Vec::new();
        // An error means that it was cut off before it had read all.
        let _ = stream.read_to_end(&mut sent).await;
        assert_eq!(sent, b"");
    }
    is_quiet(&daemon);
}

/// Attack: five hundred begin with TLS and say no more. Then: a user beside them is served.
#[tokio::test]
async fn five_hundred_who_begin_with_tls_keep_nobody_waiting() {
    let daemon = program()
        .tls(&Certificate::new())
        // Longer than the test takes on any machine.
        .env("AGENTD_TLS_HANDSHAKE_TIMEOUT_MS", "3600000")
        .start();
    let begun = join_all((0..500).map(async |_| {
        let mut stream = connect(&daemon).await;
        stream.write_all(&HALF_A_HANDSHAKE).await.unwrap();
        stream
    }))
    .await;
    let (_session, _terminal) = daemon.use_normally().await;
    for stream in &begun {
        let read = stream.try_read(&mut [0]);
        let waits = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(waits, "it was cut off");
    }
}

/// Attack: one address asks for connections of TLS again and again, each of which takes work. Then: it gets so many per
/// second, and a user at another one is served.
#[tokio::test]
async fn who_asks_for_tls_again_and_again_waits_for_their_turn() {
    let certificate = Certificate::new();
    let daemon = program()
        .tls(&certificate)
        .env("AGENTD_MAX_TLS_HANDSHAKES_PER_SECOND", "1")
        // Longer than the test takes on any machine.
        .env("AGENTD_TLS_HANDSHAKE_TIMEOUT_MS", "3600000")
        .start();
    let (came_about, mut count) = mpsc::unbounded_channel();
    let mut flood = JoinSet::new();
    for _ in 0..ASKING {
        let (certificate, to) = (certificate.clone(), daemon.address());
        let came_about = came_about.clone();
        flood.spawn(async move {
            let connection = certificate.connect([127, 0, 0, 2].into(), to).await;
            // They stay open, so that nobody is counted twice.
            came_about.send(connection).unwrap();
        });
    }
    let (_session, _terminal) = daemon.use_normally().await;
    let open = [count.recv().await, count.recv().await];
    assert!(open.iter().all(Option::is_some));
    assert!(count.len() < ASKING / 2, "{} came about", count.len());
    is_quiet(&daemon);
}

/// Asks with a wrong token, as a proxy does for that address.
async fn wrong(daemon: &RunningProgram, from: &str) -> u16 {
    let wrong = daemon.get("/sessions").token("wrong");
    wrong.header("x-forwarded-for", from).await.status
}

#[tokio::test]
async fn a_proxy_that_is_trusted_says_for_whom_it_asks() {
    let daemon = program()
        .env("AGENTD_MAX_FAILED_SIGN_INS", "3")
        .env("AGENTD_TRUSTED_PROXIES", "127.0.0.0/8,::1")
        .start();
    eventually("one has tried too often", async || {
        (wrong(&daemon, "198.51.100.1, 192.0.2.1").await == 429).then_some(())
    })
    .await;
    assert_eq!(wrong(&daemon, "192.0.2.1, 192.0.2.2").await, 401);

    let login = || {
        daemon
            .post("/login", &json!({"token": daemon.token}))
            .without_token()
    };
    let by_tls = login()
        .header("x-forwarded-for", "192.0.2.3")
        .header("x-forwarded-proto", "https")
        .header("origin", &format!("https://{}", daemon.address()))
        .await
        .expect(204);
    let cookie = by_tls.header("set-cookie");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let plain = login()
        .header("forwarded", "for=192.0.2.3;proto=http")
        .await;
    let cookie = plain.expect(204).header("set-cookie").to_owned();
    assert!(!cookie.contains("Secure"), "{cookie}");
    let both = daemon
        .get("/sessions")
        .header("x-forwarded-for", "192.0.2.3")
        .header("forwarded", "for=192.0.2.4");
    both.await.problem(400, "invalid-request");
}

/// Attack: somebody who is no proxy says for whom they ask. Then: they are not believed.
#[tokio::test]
async fn others_are_not_believed() {
    let daemon = program()
        .env("AGENTD_MAX_FAILED_SIGN_INS", "3")
        .env("AGENTD_TRUSTED_PROXIES", "192.0.2.1")
        .start();
    let mut last = 0;
    eventually("one has tried too often", async || {
        last += 1;
        (wrong(&daemon, &format!("192.0.2.{last}")).await == 429).then_some(())
    })
    .await;
    let page = format!("https://{}", daemon.address());
    let asked = daemon.get("/sessions").header("x-forwarded-proto", "https");
    let asked = asked.header("origin", &page).await;
    asked.problem(403, "origin-not-allowed");
}
