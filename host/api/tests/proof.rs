//! Nobody gets the token who does not have it.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use agentd_api::{Client, ClientError, Proof};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Something at a port that answers `GET /proof` with what `prove` makes of the nonce, and all else
/// with an empty list; what it was sent.
async fn listen(
    prove: impl Fn(&str, SocketAddr) -> String + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).await.unwrap();
                assert!(length > 0, "the client left in {request:?}");
                request.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            let nonce = request.split("nonce=").nth(1).map(|rest| {
                let nonce = rest.split(' ').next().unwrap();
                nonce
                    .replace("%2B", "+")
                    .replace("%2F", "/")
                    .replace("%3D", "=")
            });
            let body = nonce.map_or(r#"{"items":[],"total":0}"#.to_owned(), |nonce| {
                prove(&nonce, address)
            });
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n");
            let answer = format!("{head}connection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(request).unwrap();
        }
    });
    (format!("http://{address}"), requests)
}

fn proof(token: &str, nonce: &str, address: &str) -> String {
    let proof = Proof::new(token, nonce, "this life", address);
    serde_json::to_string(&proof).unwrap()
}

#[tokio::test]
async fn a_service_that_proves_itself_gets_what_is_derived_from_the_token() {
    let (url, mut requests) =
        listen(|nonce, address| proof("secret", nonce, &address.to_string())).await;
    for client in [Client::new, Client::of_this_machine] {
        let client = client(&url, Some("secret")).unwrap();
        client.sessions().await.unwrap();
        client.sessions().await.unwrap();
        let question = requests.recv().await.unwrap();
        assert!(question.starts_with("GET /proof?nonce="), "{question}");
        assert!(!question.contains("authorization"), "{question}");
        for _ in 0..2 {
            let request = requests.recv().await.unwrap();
            assert!(request.contains("authorization: Agentd "), "{request}");
            assert!(!request.contains("secret"), "{request}");
        }
    }
}

/// What the client sends to one that answers so, and that it gives up.
async fn check_refused(
    client: fn(&str, Option<&str>) -> Result<Client, ClientError>,
    prove: impl Fn(&str, SocketAddr) -> String + Send + Sync + 'static,
) {
    let (url, mut requests) = listen(prove).await;
    let client = client(&url, Some("secret")).unwrap();
    let error = client.sessions().await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Unproven { .. } | ClientError::Protocol { .. }
        ),
        "{error}"
    );
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("GET /proof?nonce="), "{request}");
    assert!(
        !request.contains("secret") && !request.contains("authorization"),
        "{request}"
    );
    assert!(requests.try_recv().is_err(), "nothing else was sent");
}

/// Attack: another program listens at the service's port, while that is down or at `::1`, and waits for
/// the token. Then: it gets none.
#[tokio::test]
async fn a_stranger_gets_nothing() {
    check_refused(Client::new, |_, _| "{}".to_owned()).await;
    check_refused(Client::new, |nonce, at| {
        proof("guess", nonce, &at.to_string())
    })
    .await;
    // An answer to another question.
    check_refused(Client::new, |_, at| {
        proof("secret", "another", &at.to_string())
    })
    .await;
}

/// Attack: a stranger passes the command's question on to the service, and shows its proof. Then: it
/// gets nothing that is good anywhere.
#[tokio::test]
async fn one_who_passes_the_question_on_to_the_service_gets_nothing() {
    let service = |nonce: &str, _| proof("secret", nonce, "127.0.0.1:17005");
    check_refused(Client::of_this_machine, service).await;
    // Where an address was given, such as that of a tunnel, that is what was asked for.
    let (url, _requests) = listen(service).await;
    Client::new(&url, Some("secret"))
        .unwrap()
        .sessions()
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_token_nobody_is_asked_for_a_proof() {
    let (url, mut requests) = listen(|_, _| "{}".to_owned()).await;
    Client::new(&url, None).unwrap().sessions().await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("GET /sessions "), "{request}");
}
