//! The client's end of the terminal WebSocket, against a scripted other end.
#![cfg(feature = "client")]

use agentd_api::client::{Position, TerminalEvent};
use agentd_api::terminal::{ClientFrame, Mode, ServerFrame, TerminalQuery};
use agentd_api::{Client, ClientError};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// A service's listener, and a client for it.
#[cfg(test)]
async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, Client::new(&url, None).unwrap())
}

fn text(frame: &str) -> Message {
    Message::Text(frame.into())
}

fn at(seq: u64) -> Option<Position> {
    let epoch = "e1".to_owned();
    Some(Position { epoch, seq })
}

#[tokio::test]
async fn positions_count_output_and_not_snapshots() {
    let (listener, client) = listen().await;
    let service = tokio::spawn(async move {
        let stream = listener.accept().await.unwrap().0;
        let mut socket = accept_async(stream).await.unwrap();
        let hello = r#"{"type":"hello","session":"demo","mode":"rw","cols":80,"rows":24,"epoch":"e1","seq":100}"#;
        let close = CloseFrame {
            code: CloseCode::Library(4000),
            reason: "exited".into(),
        };
        for message in [
            text(hello),
            Message::binary("12345"),
            text(r#"{"type":"snapshot","seq":900,"bytes":3}"#),
            Message::binary("abc"),
            text(r#"{"type":"weather","sunny":true}"#),
            Message::binary("67"),
            text(r#"{"type":"exit","code":7}"#),
            Message::Close(Some(close)),
        ] {
            socket.send(message).await.unwrap();
        }
        let input = socket.next().await.unwrap().unwrap();
        let ack = socket.next().await.unwrap().unwrap();
        [input, ack]
    });

    let console = client.session_console("demo");
    let terminal = console.terminal(&TerminalQuery::default()).await.unwrap();
    let (mut reader, mut writer) = terminal.split();
    assert_eq!(reader.position(), None);
    writer.input("ls\r".into()).await.unwrap();
    writer.frame(&ClientFrame::Ack { seq: 902 }).await.unwrap();

    let hello = reader.next().await.unwrap();
    assert!(matches!(
        hello,
        TerminalEvent::Frame(ServerFrame::Hello { mode: Mode::Rw, .. })
    ));
    assert_eq!(reader.position(), at(100));
    assert_eq!(
        reader.next().await.unwrap(),
        TerminalEvent::Output("12345".into())
    );
    assert_eq!(reader.position(), at(105));
    assert_eq!(
        reader.next().await.unwrap(),
        TerminalEvent::Snapshot("abc".into())
    );
    assert_eq!(reader.position(), at(900));
    let unknown = reader.next().await.unwrap();
    assert_eq!(unknown, TerminalEvent::Frame(ServerFrame::Unrecognised));
    assert_eq!(
        reader.next().await.unwrap(),
        TerminalEvent::Output("67".into())
    );
    assert_eq!(reader.position(), at(902));
    let exit = ServerFrame::Exit {
        code: Some(7),
        signal: None,
    };
    assert_eq!(reader.next().await.unwrap(), TerminalEvent::Frame(exit));
    let (code, reason) = (4000, "exited".to_owned());
    assert_eq!(
        reader.next().await.unwrap(),
        TerminalEvent::Closed { code, reason }
    );

    let sent = service.await.unwrap();
    assert_eq!(
        sent,
        [Message::binary("ls\r"), text(r#"{"type":"ack","seq":902}"#)]
    );
}

#[tokio::test]
async fn the_upgrade_carries_the_position_and_a_refusal_its_reason() {
    let (listener, client) = listen().await;
    let service = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let body = r#"{"title":"Conflict","status":409,"detail":"it has none","code":"no-terminal","hint":"see its logs"}"#;
        let head = "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json";
        let length = body.len();
        let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let query = TerminalQuery {
        mode: Mode::Ro,
        seq: Some(5),
        epoch: Some("e1".into()),
        ack: Some(1),
        ticket: None,
        session: Some("previous".into()),
    };
    let refused = client.agent_console("a-1").terminal(&query).await;
    let Err(ClientError::Problem(problem)) = refused else {
        panic!("it was not refused");
    };
    assert_eq!(problem.code, "no-terminal");
    assert_eq!(problem.hint.as_deref(), Some("see its logs"));
    let request = service.await.unwrap();
    let line =
        "GET /agents/a-1/terminal?mode=ro&seq=5&epoch=e1&ack=1&session=previous HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_lost_and_not_ended() {
    let (listener, client) = listen().await;
    let service = tokio::spawn(async move {
        let stream = listener.accept().await.unwrap().0;
        drop(accept_async(stream).await.unwrap());
    });
    let console = client.session_console("demo");
    let terminal = console.terminal(&TerminalQuery::default()).await.unwrap();
    service.await.unwrap();
    let (mut reader, _writer) = terminal.split();
    assert!(matches!(reader.next().await, Err(ClientError::Lost { .. })));
}
