use std::time::Instant;

use agentd_api::client::{TerminalEvent, TerminalReader, TerminalWriter};
use agentd_host::testing::hostile;
use bytes::Bytes;

use crate::server::Server;
use crate::terminado::Terminado;
use crate::{Result, reference};
use agentd_host::testing::Table;

const KEYS: usize = 2000;
const FLOODING: usize = 10;
const HOSTILE_KEYS: usize = 200;

/// Seconds from key to echo, idle and under load.
pub async fn measure(table: &mut Table, terminado: Option<&Terminado>) -> Result {
    let server = Server::start()?;
    server.run("echo", &["echo"]).await?;
    let (mut reader, mut writer) = server.watch("echo").await?;
    wait_for(&mut reader, b"ready").await?;

    let mut pty = tokio::task::spawn_blocking(|| reference::pty_echo(KEYS)).await??;
    let mut socket = reference::websocket_echo(KEYS).await?;
    let mut idle = echo(&mut reader, &mut writer, KEYS).await?;
    let bare = percentile(&mut pty, 50.0) + percentile(&mut socket, 50.0);
    let (p50, p99) = (percentile(&mut idle, 50.0), percentile(&mut idle, 99.0));
    let ratio = p50 / bare;
    let value = format!(
        "{ratio:.2} (p50 {:.3} ms of {:.3}; p99 {:.3} ms)",
        p50 * 1e3,
        bare * 1e3,
        p99 * 1e3
    );
    table.row(
        "echo p50 over bare PTY + bare WebSocket",
        value,
        "≤ 1.5",
        ratio <= 1.5,
    );
    if let Some(terminado) = terminado {
        let mut theirs = terminado.echo(KEYS).await?;
        let p50 = percentile(&mut theirs, 50.0);
        let value = format!(
            "{:.2} (p50 {:.3} ms; p99 {:.3} ms)",
            p50 / bare,
            p50 * 1e3,
            percentile(&mut theirs, 99.0) * 1e3
        );
        let figure = "terminado: echo p50 over bare PTY + bare WebSocket";
        table.row(figure, value, "", None);
    }

    for number in 0..FLOODING {
        let name = format!("flood{number}");
        // More than can be written meanwhile.
        begin_beside(&server, &name, &["flood", "100000"]).await?;
    }
    let mut busy = echo(&mut reader, &mut writer, KEYS / 4).await?;
    let busy_p99 = percentile(&mut busy, 99.0);
    let ratio = busy_p99 / p99;
    let value = format!(
        "{ratio:.1} (p99 {:.2} ms, p50 {:.2} ms)",
        busy_p99 * 1e3,
        percentile(&mut busy, 50.0) * 1e3
    );
    table.row(
        "echo p99 while ten others flood, over idle p99",
        value,
        "≤ 5",
        ratio <= 5.0,
    );
    Ok(())
}

/// Seconds from key to echo while another session prints what is much work for a terminal.
pub async fn beside_hostile(table: &mut Table) -> Result {
    let server = Server::start()?;
    server.run("echo", &["echo"]).await?;
    let (mut reader, mut writer) = server.watch("echo").await?;
    wait_for(&mut reader, b"ready").await?;
    let mut idle = echo(&mut reader, &mut writer, KEYS).await?;
    let idle = percentile(&mut idle, 99.0);
    for (number, input) in hostile::inputs().iter().enumerate() {
        let number = number.to_string();
        begin_beside(&server, "hostile", &["hostile", &number]).await?;
        let mut busy = echo(&mut reader, &mut writer, HOSTILE_KEYS).await?;
        server.delete("hostile").await?;
        let busy = percentile(&mut busy, 99.0);
        let ratio = busy / idle;
        table.row(
            format!("echo p99 beside {}, over idle p99", input.name),
            format!("{ratio:.1} (p99 {:.2} ms)", busy * 1e3),
            "≤ 5",
            ratio <= 5.0,
        );
    }
    Ok(())
}

/// Runs a session that prints from its first key on, with a viewer who reads everything.
async fn begin_beside(server: &Server, name: &str, role: &[&str]) -> Result {
    server.run(name, role).await?;
    let (mut reader, mut writer) = server.watch(name).await?;
    writer.input(Bytes::from_static(b"g")).await?;
    tokio::spawn(async move {
        // Dropping it would end the viewer.
        let _writer = writer;
        while !matches!(
            reader.next().await,
            Ok(TerminalEvent::Closed { .. }) | Err(_)
        ) {}
    });
    Ok(())
}

pub async fn echo(
    reader: &mut TerminalReader,
    writer: &mut TerminalWriter,
    keys: usize,
) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(keys);
    for _ in 0..keys {
        let begin = Instant::now();
        writer.input(Bytes::from_static(b"k")).await?;
        wait_for(reader, b"k").await?;
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Waits until that was output, in any pieces.
pub async fn wait_for(reader: &mut TerminalReader, text: &[u8]) -> Result {
    let mut seen = Vec::new();
    while !seen.ends_with(text) {
        match reader.next().await? {
            TerminalEvent::Output(bytes) => seen.extend_from_slice(&bytes),
            // The beginning of a session may already be in it.
            TerminalEvent::Snapshot(bytes) if contains(&bytes, text) => return Ok(()),
            TerminalEvent::Closed { .. } => return Err("the session ended".into()),
            _ => {}
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The value below which `percent` of all lie.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (last as f64 * percent / 100.0).round() as usize;
    values[index.min(last)]
}
