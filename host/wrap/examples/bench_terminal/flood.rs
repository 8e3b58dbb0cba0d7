use std::time::Instant;

use agentd_api::client::TerminalEvent;
use agentd_api::terminal::ServerFrame;
use bytes::Bytes;

use crate::server::{Seen, Server};
use crate::table::{Table, median};
use crate::terminado::Terminado;
use crate::{Result, reference};

/// One flood, in MiB.
const FLOOD: u64 = 64;
/// Each figure is the middle one of so many.
const ROUNDS: usize = 5;

/// A flood that takes terminado about as long, in MiB.
const TERMINADO_FLOOD: u64 = 8;

/// Floods with one, ten and a hundred viewers, and with a slow one.
pub async fn measure(table: &mut Table, terminado: Option<&Terminado>) -> Result {
    let mut bare = Vec::new();
    let mut one = Vec::new();
    for _ in 0..ROUNDS {
        bare.push(tokio::task::spawn_blocking(|| reference::flood(FLOOD)).await??);
        one.push(flood(1).await?);
    }
    let bare = median(bare);
    let speed = median(one.iter().map(|flood| flood.speed).collect());
    let delivered = median(one.iter().map(|flood| flood.delivered).collect());
    let value = format!(
        "{:.2} ({speed:.0} MB/s of {bare:.0}; {:.0} % of it shown byte by byte)",
        speed / bare,
        delivered * 100.0
    );
    table.row(
        "one viewer over the bare PTY",
        value,
        "≥ 0.75",
        speed / bare >= 0.75,
    );
    if let Some(terminado) = terminado {
        let mut theirs = Vec::new();
        for _ in 0..3 {
            theirs.push(terminado.flood(TERMINADO_FLOOD).await?);
        }
        let speed = median(theirs);
        let value = format!("{:.2} ({speed:.0} MB/s)", speed / bare);
        table.row("terminado: one viewer over the bare PTY", value, "", None);
    }

    for (viewers, must, least) in [(10, "≥ 0.9", 0.9), (100, "≥ 0.6", 0.6)] {
        let (mut alone, mut many) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            alone.push(flood(1).await?.speed);
            many.push(flood(viewers).await?);
        }
        let ratio = median(many.iter().map(|flood| flood.speed).collect()) / median(alone);
        let growth = many.iter().map(|flood| flood.growth).max().unwrap_or(0) / 1024 / 1024;
        let right = many
            .iter()
            .map(|flood| flood.right_screens)
            .min()
            .unwrap_or(0);
        let value = format!("{ratio:.2}, {growth} MiB, {right} of {viewers} screens right");
        let reached = ratio >= least && right == viewers && growth < 48;
        let figure = if viewers == 10 {
            "10 viewers over one"
        } else {
            "100 viewers over one"
        };
        table.row(
            figure,
            value,
            if viewers == 10 {
                must
            } else {
                "≥ 0.6, < 48 MiB"
            },
            reached,
        );
    }
    slow_viewer(table).await
}

struct Flood {
    /// MB/s on the side of the PTY.
    speed: f64,
    /// The part of the output that viewers got as output.
    delivered: f64,
    /// Bytes of memory.
    growth: u64,
    right_screens: usize,
}

async fn flood(viewers: usize) -> Result<Flood> {
    let server = Server::start()?;
    server.run("flood", &["flood", &FLOOD.to_string()]).await?;
    let before = server.memory()?;
    let mut tasks = Vec::new();
    let mut writer = None;
    for _ in 0..viewers {
        let (mut reader, own_writer) = server.watch("flood").await?;
        writer.get_or_insert(own_writer);
        tasks.push(tokio::spawn(async move {
            let mut seen = Seen::default();
            let mut begin = None;
            loop {
                let event = reader.next().await?;
                if begin.is_none() && matches!(event, TerminalEvent::Output(_)) {
                    begin = Some(Instant::now());
                }
                let exited = matches!(event, TerminalEvent::Frame(ServerFrame::Exit { .. }));
                if seen.take(&event) || exited {
                    let seconds = begin.map(|begin| begin.elapsed().as_secs_f64());
                    return Result::Ok((seen, seconds.unwrap_or(f64::INFINITY)));
                }
            }
        }));
    }
    writer
        .as_mut()
        .ok_or("nobody types")?
        .input(Bytes::from_static(b"g"))
        .await?;
    let (mut seconds, mut delivered, mut right_screens) = (f64::INFINITY, 0.0, 0);
    let total = FLOOD as f64 * 1024.0 * 1024.0;
    for task in tasks {
        let (seen, took) = task.await??;
        seconds = seconds.min(took);
        delivered += seen.bytes as f64 / total / viewers as f64;
        right_screens += usize::from(is_right(&seen)?);
    }
    let growth = server.memory()?.saturating_sub(before);
    Ok(Flood {
        speed: total / seconds / 1e6,
        delivered,
        growth,
        right_screens,
    })
}

fn is_right(seen: &Seen) -> Result<bool> {
    let screen = seen.screen()?;
    let rest_is_empty = screen[1..].iter().all(String::is_empty);
    Ok(screen[0] == "the flood is over" && rest_is_empty && seen.code == Some(0))
}

/// Two viewers, of whom one may be slow: MB/s of the other, and the agent's longest gap.
async fn slow_viewer(table: &mut Table) -> Result {
    let (mut without, mut with, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        without.push(beside(false).await?.0);
        let (speed, gap) = beside(true).await?;
        with.push(speed);
        gaps.push(gap);
    }
    let ratio = median(with) / median(without);
    let gap = median(gaps);
    let value = format!("{ratio:.2}, longest gap {gap:.1} ms");
    table.row(
        "beside a viewer of 50 KB/s",
        value,
        "≥ 0.9, < 50 ms",
        ratio >= 0.9 && gap < 50.0,
    );
    Ok(())
}

async fn beside(slow: bool) -> Result<(f64, f64)> {
    let server = Server::start()?;
    let directory = tempfile::tempdir()?;
    let gap_file = directory.path().join("gap");
    let role = ["flood", &FLOOD.to_string(), &gap_file.display().to_string()];
    server.run("flood", &role).await?;
    let (mut reader, mut writer) = server.watch("flood").await?;
    let (mut other, _other_writer) = server.watch("flood").await?;
    let other = tokio::spawn(async move {
        while let Ok(event) = other.next().await {
            match event {
                TerminalEvent::Output(bytes) | TerminalEvent::Snapshot(bytes) if slow => {
                    let seconds = bytes.len() as f64 / 50e3;
                    tokio::time::sleep(std::time::Duration::from_secs_f64(seconds)).await;
                }
                TerminalEvent::Closed { .. } => return,
                _ => {}
            }
        }
    });
    writer.input(Bytes::from_static(b"g")).await?;
    let mut seen = Seen::default();
    let mut begin = None;
    while seen.code.is_none() {
        let event = reader.next().await?;
        if matches!(event, TerminalEvent::Output(_)) {
            begin.get_or_insert_with(Instant::now);
        }
        seen.take(&event);
    }
    let seconds = begin.ok_or("nothing came")?.elapsed().as_secs_f64();
    other.abort();
    let gap: f64 = std::fs::read_to_string(gap_file)?.parse()?;
    Ok((FLOOD as f64 * 1024.0 * 1024.0 / seconds / 1e6, gap / 1e3))
}
