//! What stands before an engine and does something to a request.
//!
//! Other packages' tests may include this file by its path.

#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A socket at which an engine answers; clients make a connection for each request. Dropping it ends that.
pub struct Proxy {
    directory: TempDir,
    accepting: JoinHandle<()>,
    /// What was asked for without an answer has been done.
    done: Arc<Notify>,
}

/// What is done to a request whose head has this text.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Each one waits so long.
    Slow(&'static str, Duration),
    /// The first one is cut off, and what it asked for is done when its failure is known.
    LosesAnswer(&'static str),
}

impl Proxy {
    /// Before the engine with this socket.
    pub fn before(engine: PathBuf, trouble: Trouble) -> Proxy {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("docker.sock")).expect("a socket");
        let done = Arc::new(Notify::new());
        let accepting = tokio::spawn({
            let done = done.clone();
            async move {
                let lost = Arc::new(AtomicBool::new(false));
                while let Ok((client, _)) = listener.accept().await {
                    let engine = UnixStream::connect(&engine).await.expect("the engine");
                    let exchange = Exchange { client, engine };
                    tokio::spawn(exchange.forward(trouble, lost.clone(), done.clone()));
                }
            }
        });
        Proxy {
            directory,
            accepting,
            done,
        }
    }

    /// The value for `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!(
            "unix://{}",
            self.directory.path().join("docker.sock").display()
        )
    }

    /// Waits until what was asked for without an answer has been done.
    pub async fn done(&self) {
        self.done.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Exchange {
    client: UnixStream,
    engine: UnixStream,
}

impl Exchange {
    /// Passes on what both sides say.
    async fn forward(mut self, trouble: Trouble, lost: Arc<AtomicBool>, done: Arc<Notify>) {
        let mut request = vec![0; 64 * 1024];
        let length = self.client.read(&mut request).await.unwrap_or(0);
        request.truncate(length);
        let head = String::from_utf8_lossy(&request).into_owned();
        match trouble {
            Trouble::Slow(text, time) if head.contains(text) => sleep(time).await,
            Trouble::LosesAnswer(text)
                if head.contains(text) && !lost.swap(true, Ordering::Relaxed) =>
            {
                self.do_later(request).await;
                done.notify_one();
                return;
            }
            _ => {}
        }
        if self.engine.write_all(&request).await.is_ok() {
            let _ = copy_bidirectional(&mut self.client, &mut self.engine).await;
        }
    }

    /// Cuts off the client, and asks the engine when that is known.
    async fn do_later(mut self, mut request: Vec<u8>) {
        // All of its body, which is sent with it or right after.
        let mut rest = [0; 64 * 1024];
        while let Ok(Ok(read @ 1..)) =
            timeout(Duration::from_millis(200), self.client.read(&mut rest)).await
        {
            request.extend_from_slice(&rest[..read]);
        }
        drop(self.client);
        // By then the start has looked for what may have been made.
        sleep(Duration::from_secs(1)).await;
        let mut engine = self.engine;
        engine.write_all(&request).await.expect("asking the engine");
        let mut answer = [0; 1024];
        let length = engine.read(&mut answer).await.expect("the engine's answer");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.contains("201 Created"), "{answer}");
    }
}
