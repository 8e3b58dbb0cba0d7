//! A viewer that disappears without a word, like a laptop that is shut.

use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use agentd_host::testing::may_make_namespaces;
use futures_util::{SinkExt, StreamExt};
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::program;

const SERVICE: &str = "10.87.0.1";
const LAPTOP: &str = "10.87.0.2";

/// Moves this thread, and what it starts from now on, into a network of its own.
fn leave_network() {
    // SAFETY: only the network changes; descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// A thread in a network of its own, with a cable to that of the one who made it.
struct Laptop {
    orders: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Laptop {
    fn plugged_in() -> Laptop {
        let (orders, ordered) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (born, birth) = mpsc::channel();
        thread::spawn(move || {
            leave_network();
            born.send(gettid()).unwrap();
            ordered.into_iter().for_each(|order| order());
        });
        let id = birth.recv().unwrap();
        let laptop = Laptop { orders };
        ip(&format!(
            "link add cable type veth peer name cable netns {id}"
        ));
        ip(&format!("addr add {SERVICE}/24 dev cable"));
        ip("link set cable up");
        laptop.run(|| ip(&format!("addr add {LAPTOP}/24 dev cable")));
        laptop.run(|| ip("link set cable up"));
        laptop
    }

    fn run<T: Send + 'static>(&self, order: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let order = move || done.send(order()).unwrap();
        self.orders.send(Box::new(order)).unwrap();
        result.recv().unwrap()
    }
}

#[tokio::test]
async fn a_viewer_that_vanished_is_noticed() {
    if !may_make_namespaces() {
        return;
    }
    leave_network();
    ip("link set lo up");
    let laptop = Laptop::plugged_in();
    let daemon = program()
        .env("AGENTD_HOST", SERVICE)
        .env("AGENTD_ALLOWED_HOSTS", SERVICE)
        .env("AGENTD_BEHIND_TLS_PROXY", "true")
        .env("AGENTD_TRUSTED_PROXIES", format!("{SERVICE},{LAPTOP}"))
        .start();
    let session = daemon.start("demo", &["cat"]).await;

    let address = daemon.address();
    let stream = laptop.run(move || TcpStream::connect(address).unwrap());
    stream.set_nonblocking(true).unwrap();
    let url = format!("ws://{address}/sessions/demo/terminal");
    let mut request = url.into_client_request().unwrap();
    let bearer = daemon.bearer().parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let hello = socket.next().await.unwrap().unwrap();
    assert!(hello.is_text(), "{hello:?}");
    // By what is sent now the service knows that the hello arrived: nothing is on its way any more.
    let nothing = Message::text(r#"{"type":"ack","seq":0}"#);
    socket.send(nothing).await.unwrap();
    assert_eq!(session.show().await.viewers, 1);

    laptop.run(|| ip("link set cable down"));
    session
        .until("its disappearance", |session| session.viewers == 0)
        .await;
}
