//! `agent token …` and `agent orchestrator share`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::Service;

const SCOPE: &str = "error: this needs the scope `admin`, and the token has `read`\n\n\
                     hint: ask for a token that allows it (`agent token create`)";

/// A way to the service that keeps what goes there.
struct Tapped {
    /// Host and port.
    address: String,
    target: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tapped {
    fn open() -> Tapped {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (target, heard) = (Arc::default(), Arc::default());
        let tapped = Tapped {
            address,
            target,
            heard,
        };
        let (target, heard) = (tapped.target.clone(), tapped.heard.clone());
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&*target.lock().unwrap()).unwrap();
                pass_on(&client, &server, Some(heard.clone()));
                pass_on(&server, &client, None);
            }
        });
        tapped
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream, heard: Option<Arc<Mutex<Vec<u8>>>>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if let Some(heard) = &heard {
                heard.lock().unwrap().extend(&buffer[..length]);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_token_is_made_used_and_revoked() {
    let tapped = Tapped::open();
    let names = [("AGENTD_ALLOWED_HOSTS", tapped.address.as_str())];
    let service = Service::start("orchestrator", "pty", &names);
    *tapped.target.lock().unwrap() = service.url().replace("http://", "");
    service.launch("demo", &["cat"]);
    let create = [
        "token",
        "create",
        "look",
        "--scope",
        "read",
        "--expires-in",
        "1h",
    ];
    let token = service.anywhere(&create).run().succeeded();
    let token = token.trim();
    let listed = service.anywhere(&["token", "list"]).run().succeeded();
    let row = listed.lines().nth(1).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..3], ["look", "read", "all"], "{listed}");
    assert!(
        ["59m", "1h"].contains(&row[3]) && row[4] == "never",
        "{listed}"
    );
    assert!(!listed.contains(token));

    let socket = service.state_dir().join("agentd-orchestrator.sock");
    let socket = format!("unix:{}", socket.display());
    let tcp = format!("http://{}", tapped.address);
    for url in [&tcp, &socket] {
        let with = |arguments: &[&str]| {
            let more = ["--token", token, "--url", url.as_str()];
            service.agent(&[arguments, &more].concat())
        };
        let list = with(&["list"]).run().succeeded();
        assert!(list.contains("demo"), "{url}: {list}");
        with(&["delete", "demo"]).run().failed(1, SCOPE);
        let send = with(&["send", "demo", "text"]).run();
        assert_eq!(send.code, Some(1), "{send:?}");
    }
    let secret = token.rsplit('_').next().unwrap();
    let heard = String::from_utf8_lossy(&tapped.heard.lock().unwrap()).into_owned();
    assert!(
        heard.contains("Agentd agt_") || heard.contains("agentd agt_"),
        "{heard}"
    );
    assert!(!heard.contains(secret));

    let used = service.anywhere(&["token", "list", "--json"]).run().json();
    assert!(used["items"][0]["last_used_at"].is_string());
    service
        .anywhere(&["token", "revoke", "look"])
        .run()
        .succeeded();
    let empty = service.anywhere(&["token", "list"]).run();
    assert!(
        empty.stderr.contains("only the service's own token"),
        "{empty:?}"
    );
    let after = service.agent(&["list", "--token", token]).run();
    after.failed(
        1,
        "error: there is no such token, or no longer\n\n\
         hint: `--token` or `AGENTD_TOKEN` is not this service's token",
    );
    let again = service.anywhere(&["token", "revoke", "look"]).run();
    again.failed(
        1,
        "error: there is no token `look`\n\nhint: `agent token list` shows what there is",
    );
}

#[test]
fn a_token_is_for_an_agent_by_its_name_or_for_a_label() {
    let service = Service::orchestrator("pty");
    service.launch("one", &["cat"]);
    service.launch("two", &["cat"]);
    service.agent(&["label", "two", "team=a"]).run().succeeded();
    for (limit, shown) in [(["--agent", "one"], "one"), (["--label", "team=a"], "two")] {
        let create = ["token", "create", shown, "--scope", "write"];
        let token = service.anywhere(&[&create[..], &limit].concat()).run();
        let token = token.succeeded();
        let list = ["list", "--json", "--token", token.trim()];
        let list = service.agent(&list).run().json();
        assert_eq!(list["total"], 1);
        assert_eq!(list["items"][0]["name"], shown);
    }
    let both = [
        "token", "create", "x", "--scope", "read", "--agent", "one", "--label", "a=b",
    ];
    assert_eq!(service.anywhere(&both).run().code, Some(2));
    let span = [
        "token",
        "create",
        "x",
        "--scope",
        "read",
        "--expires-in",
        "soon",
    ];
    let span = service.anywhere(&span).run();
    assert!(span.stderr.contains("it must look like"), "{span:?}");
}

#[test]
fn an_agent_is_shared_by_a_link() {
    let service = Service::orchestrator("pty");
    service.launch("demo", &["cat"]);
    let url = service.agent(&["share", "demo"]).run().succeeded();
    let (page, token) = url.trim().split_once("#link=").unwrap();
    assert_eq!(page, format!("{}/", service.url()));
    let rw = ["share", "demo", "--rw", "--expires-in", "2d", "--json"];
    let rw = service.agent(&rw).run().json();
    assert_eq!(rw["mode"], "rw");
    let links = service
        .agent(&["share", "demo", "--list"])
        .run()
        .succeeded();
    assert_eq!(links.lines().count(), 3, "{links}");
    let send = ["send", "demo", "text", "--token", token];
    let send = service.agent(&send).run();
    assert!(send.stderr.contains("the scope `write`"), "{send:?}");
    let (_, token) = rw["url"].as_str().unwrap().split_once("#link=").unwrap();
    let send = ["send", "demo", "text", "--token", token];
    service.agent(&send).run().succeeded();
    let id = rw["id"].as_str().unwrap();
    service.anywhere(&["token", "revoke", id]).run().succeeded();
    let links = service.agent(&["share", "demo", "--list", "--json"]).run();
    assert_eq!(links.json()["total"], 1);
}
