//! Terminado, the terminal server of Jupyter, with the same programs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Result;
use crate::child::LAST_WORDS;

const SERVER: &str = include_str!("terminado.py");

/// The Python of an environment that has terminado in it.
pub struct Terminado(PathBuf);

impl Terminado {
    /// Installs it beside the build's other output, unless it is there; says so where it cannot be.
    pub fn install() -> Option<Self> {
        let installed = environment().and_then(|environment| {
            let python = environment.join("bin/python");
            if run(&python, &["-c", "import terminado"]).is_err() {
                let venv = environment.display().to_string();
                run(Path::new("python3"), &["-m", "venv", "--clear", &venv])?;
                run(&python, &["-m", "pip", "install", "--quiet", "terminado"])?;
            }
            Ok(Terminado(python))
        });
        installed
            .inspect_err(|error| eprintln!("terminado is left out: {error}"))
            .ok()
    }

    /// MB/s that one viewer gets out of a flood, beginning with its key.
    pub async fn flood(&self, mebibytes: u64) -> Result<f64> {
        let mut terminal = self.open(&["flood", &mebibytes.to_string()]).await?;
        let words = String::from_utf8_lossy(LAST_WORDS);
        terminal.type_key("g").await?;
        let (mut begin, mut bytes, mut last) = (None, 0, String::new());
        while !last.ends_with(&*words) {
            last.push_str(&terminal.output().await?);
            begin.get_or_insert_with(Instant::now);
            let kept = last.len().saturating_sub(words.len());
            bytes += kept;
            last.drain(..kept);
        }
        let seconds = begin.ok_or("nothing came")?.elapsed().as_secs_f64();
        Ok((bytes + last.len()) as f64 / seconds / 1e6)
    }

    /// Seconds from key to echo, for each of so many keys.
    pub async fn echo(&self, keys: usize) -> Result<Vec<f64>> {
        let mut terminal = self.open(&["echo"]).await?;
        while !terminal.output().await?.ends_with('y') {}
        let mut times = Vec::with_capacity(keys);
        for _ in 0..keys {
            let begin = Instant::now();
            terminal.type_key("k").await?;
            while !terminal.output().await?.contains('k') {}
            times.push(begin.elapsed().as_secs_f64());
        }
        Ok(times)
    }

    async fn open(&self, role: &[&str]) -> Result<Terminal> {
        let mut process = Command::new(&self.0)
            .args(["-c", SERVER])
            .arg(std::env::current_exe()?)
            .args(role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no standard output")?;
        let server = Server(process);
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        let url = format!("ws://127.0.0.1:{}/", port.trim());
        let (socket, _) = tokio_tungstenite::connect_async(url).await?;
        Ok(Terminal {
            socket,
            _server: server,
        })
    }
}

/// Ended with its programs when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Terminal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    _server: Server,
}

impl Terminal {
    async fn type_key(&mut self, key: &str) -> Result {
        let message = Message::text(json!(["stdin", key]).to_string());
        Ok(self.socket.send(message).await?)
    }

    /// What is shown next.
    async fn output(&mut self) -> Result<String> {
        loop {
            let message = self.socket.next().await.ok_or("terminado is gone")??;
            let frame: Vec<Value> = serde_json::from_str(message.to_text()?)?;
            if let [Value::String(kind), Value::String(text)] = &frame[..]
                && kind == "stdout"
            {
                return Ok(text.clone());
            }
        }
    }
}

fn environment() -> Result<PathBuf> {
    // target/release/examples/bench_terminal
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(3).ok_or("no directory")?;
    Ok(target.join("terminado"))
}

fn run(program: &Path, arguments: &[&str]) -> Result {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
