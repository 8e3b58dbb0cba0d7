//! What those do who look at an agent and leave again.

use std::process::Stdio;
use std::time::Duration;

use agentd_host::testing::TestTerminal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::soak::{Result, Visitor};

/// The operations, by the names that `--only` takes.
pub const VISITS: &[&str] = &[
    "view", "cut", "stall", "resume", "type", "resize", "logs", "follow", "read", "events",
    "refused", "half", "prompt", "attach",
];

impl Visitor {
    /// Does one of [`VISITS`] to an agent.
    pub async fn visit(&mut self, operation: &str, agent: &str) -> Result {
        match operation {
            "view" | "cut" | "stall" | "resume" | "type" | "resize" => {
                self.watch(operation, agent).await
            }
            "logs" => self.get(&format!("/agents/{agent}/logs?tail=5")).await,
            "follow" => {
                let path = format!("/agents/{agent}/logs?follow=true");
                self.stream_a_while(&path).await
            }
            "events" => self.stream_a_while("/events").await,
            "read" => {
                self.get("/agents?limit=200").await?;
                self.get("/health").await?;
                self.get(&format!("/agents/{agent}")).await
            }
            "refused" => self.be_refused(agent).await,
            "half" => self.send_half(agent).await,
            "prompt" => {
                let body = serde_json::json!({"text": "hello\nthere"});
                // A program that does not read makes the prompt wait.
                let path = format!("/agents/{agent}/input");
                let request = self.client.post(&path, &body);
                match timeout(self.random.pause(500), request).await {
                    Ok(answer) => self.check(&answer),
                    Err(_) => Ok(()),
                }
            }
            "attach" => self.attach(agent).await,
            other => Err(format!("no such operation: {other}")),
        }
    }

    async fn watch(&mut self, operation: &str, agent: &str) -> Result {
        let query = match self.random.below(3) {
            0 => "?mode=ro",
            1 => "?ack=1",
            _ => "",
        };
        let Some(mut terminal) = self.open(agent, query).await? else {
            return Ok(());
        };
        terminal.listen(self.random.pause(300)).await;
        match operation {
            "cut" => return check_end(&terminal),
            "stall" => sleep(self.random.pause(1500)).await,
            "type" => {
                for keys in ["hello\r", "\u{3}", "\u{1b}[A", "x"] {
                    self.send(&mut terminal, Message::binary(keys)).await;
                    terminal.listen(self.random.pause(100)).await;
                }
            }
            "resize" => {
                for _ in 0..self.random.below(8) {
                    let (cols, rows) = (20 + self.random.below(200), 5 + self.random.below(80));
                    let frame = serde_json::json!({"type": "resize", "cols": cols, "rows": rows});
                    self.send(&mut terminal, Message::text(frame.to_string()))
                        .await;
                    terminal.listen(self.random.pause(50)).await;
                }
            }
            "resume" => {
                let position = terminal.position();
                drop(terminal);
                let Some((epoch, seq)) = position else {
                    return Ok(());
                };
                let query = format!("?seq={seq}&epoch={epoch}");
                match self.open(agent, &query).await? {
                    Some(resumed) => terminal = resumed,
                    None => return Ok(()),
                }
            }
            _ => {}
        }
        terminal.listen(self.random.pause(500)).await;
        check_end(&terminal)?;
        self.send(&mut terminal, Message::Close(None)).await;
        terminal.listen(Duration::from_secs(60)).await;
        match terminal.close {
            Some(_) => Ok(()),
            None => Err("the viewer's close is not answered within 60 s".to_owned()),
        }
    }

    /// None when the agent has no terminal, or is not there any more.
    async fn open(&self, agent: &str, query: &str) -> Result<Option<TestTerminal>> {
        let path = format!("/agents/{agent}/terminal{query}");
        let bearer = self.client.bearer();
        let headers = [("authorization", bearer.as_str())];
        match self.client.terminal(&path, &headers).await {
            Ok(terminal) => Ok(Some(terminal)),
            Err(404 | 409) => Ok(None),
            Err(status) => Err(format!("the terminal: {status}")),
        }
    }

    /// Fails when the other side has ended it meanwhile, which the next look shows.
    async fn send(&self, terminal: &mut TestTerminal, message: Message) {
        let _ = terminal.send(message).await;
    }

    /// Reads an answer that goes on, and goes away.
    async fn stream_a_while(&mut self, path: &str) -> Result {
        let patience = self.random.pause(800);
        let read = async {
            let mut response = self.client.get(path).stream().await;
            if response.status().as_u16() >= 500 {
                return Err(format!("GET {}: {}", kind(path), response.status()));
            }
            // Ends also by an error, when the agent is deleted.
            while let Ok(Some(_)) = response.chunk().await {}
            Ok(())
        };
        timeout(patience, read).await.unwrap_or(Ok(()))
    }

    async fn be_refused(&self, agent: &str) -> Result {
        let path = format!("/agents/{agent}");
        let answer = self.client.get(&path).token("wrong").await;
        let other = self.client.get("/agents/nobody").await;
        match (answer.status, other.status) {
            (401, 404) => Ok(()),
            other => Err(format!("a wrong token and an unknown agent: {other:?}")),
        }
    }

    /// Leaves in the middle of a request.
    async fn send_half(&mut self, agent: &str) -> Result {
        let bearer = self.client.bearer();
        let request = format!(
            "POST /agents/{agent}/input HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\
             content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"text\": "
        );
        let sent = self.random.below(request.len() as u64) as usize;
        let connected = TcpStream::connect(self.client.address).await;
        let mut stream = connected.map_err(|error| format!("connect: {error}"))?;
        let written = stream.write_all(&request.as_bytes()[..sent]).await;
        written.map_err(|error| format!("write: {error}"))?;
        sleep(self.random.pause(300)).await;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result {
        self.check(&self.client.get(path).await)
    }

    /// Runs the command that shows the agent, where the backend has one.
    async fn attach(&mut self, agent: &str) -> Result {
        let shown = self.client.get(&format!("/agents/{agent}")).await;
        if shown.status == 404 {
            return Ok(());
        }
        let command = &shown.json()["session"]["attach_command"];
        let words = command.as_array().into_iter().flatten();
        let words: Vec<_> = words.filter_map(|word| word.as_str()).collect();
        if words.is_empty() {
            return Ok(());
        }
        // `script` gives it a terminal.
        let mut attached = tokio::process::Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--command",
                &words.join(" "),
                "/dev/null",
            ])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("`script` cannot be started: {error}"))?;
        let _ = timeout(self.random.pause(800), attached.wait()).await;
        Ok(())
    }
}

/// A viewer is always sent the reason of its end.
fn check_end(terminal: &TestTerminal) -> Result {
    match terminal.close {
        Some(1006) => Err("a viewer was cut off without a close frame".to_owned()),
        _ => Ok(()),
    }
}

/// A path without what is different each time.
fn kind(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
