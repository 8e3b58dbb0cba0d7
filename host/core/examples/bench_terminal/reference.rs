//! The bare things beside which the engine is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::child::LAST_WORDS;

/// Opens a PTY and runs this program on it: reader and writer of the other end.
fn pty(role: &[&str]) -> Result<(Box<dyn Read + Send>, Box<dyn Write + Send>)> {
    let size = PtySize {
        rows: 24,
        cols: 80,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size)?;
    let mut command = CommandBuilder::new(std::env::current_exe()?);
    command.args(role);
    pair.slave.spawn_command(command)?;
    Ok((pair.master.try_clone_reader()?, pair.master.take_writer()?))
}

/// MB/s that a plain read loop gets out of a flood.
pub fn flood(mebibytes: u64) -> Result<f64> {
    let (mut reader, mut writer) = pty(&["flood", &mebibytes.to_string()])?;
    // The child makes its terminal raw before it reads the key, whenever that comes.
    writer.write_all(b"g")?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = reader.read(&mut buffer)?;
    let begin = Instant::now();
    let mut last = buffer[..bytes].to_vec();
    while let Ok(count) = reader.read(&mut buffer) {
        if count == 0 {
            break;
        }
        bytes += count;
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(LAST_WORDS.len()));
    }
    if last != LAST_WORDS {
        return Err("the bare PTY lost its tail".into());
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64() / 1e6)
}

/// Seconds from key to echo on a bare PTY, for each of so many keys.
pub fn pty_echo(keys: usize) -> Result<Vec<f64>> {
    let (mut reader, mut writer) = pty(&["echo"])?;
    let mut ready = [0; 5];
    reader.read_exact(&mut ready)?;
    let mut times = Vec::with_capacity(keys);
    for _ in 0..keys {
        let begin = Instant::now();
        writer.write_all(b"k")?;
        reader.read_exact(&mut [0])?;
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Seconds from message to echo of a bare WebSocket server in a process of its own, as ours is,
/// for each of so many messages.
pub async fn websocket_echo(keys: usize) -> Result<Vec<f64>> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("socket")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    let stdout = server.stdout.take().ok_or("no standard output")?;
    BufReader::new(stdout).read_line(&mut port)?;
    let url = format!("ws://127.0.0.1:{}", port.trim());
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await?;
    let mut times = Vec::with_capacity(keys);
    for _ in 0..keys {
        let begin = Instant::now();
        socket.send(Message::binary(&b"k"[..])).await?;
        socket.next().await.ok_or("the server is gone")??;
        times.push(begin.elapsed().as_secs_f64());
    }
    socket.close(None).await?;
    server.wait()?;
    Ok(times)
}

/// The server of [`websocket_echo`]: prints its port, and serves one client to its end.
#[tokio::main]
pub async fn serve_websocket() -> Result {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
