use std::time::Instant;

use agentd_api::client::TerminalEvent;
use agentd_api::terminal::ServerFrame;
use bytes::Bytes;

use crate::server::{Seen, Server};
use crate::terminado::Terminado;
use crate::{Result, reference};
use agentd_host::testing::{Table, median};

/// One flood, in MiB.
const FLOOD: u64 = 64;
/// The same in bytes.
const TOTAL: f64 = (FLOOD * 1024 * 1024) as f64;
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
    let value = format!(
        "{:.2} ({speed:.0} MB/s of {bare:.0}; {})",
        speed / bare,
        one[0].shown(1)
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
        let value = format!(
            "{ratio:.2} up to the end of the slowest, {growth} MiB, {right} of {viewers} screens \
             right; {}",
            many[0].shown(viewers)
        );
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
    /// MB/s on the side of the PTY, from the key to when the last viewer has the end.
    speed: f64,
    /// What all viewers were shown as output, in bytes.
    output: u64,
    /// How often they were brought to the present in all, and the bytes of that.
    snapshots: u64,
    snapshot_bytes: u64,
    /// Bytes of memory.
    growth: u64,
    right_screens: usize,
}

impl Flood {
    /// How much of the flood each viewer was shown, and how.
    fn shown(&self, viewers: usize) -> String {
        let viewers = viewers as f64;
        format!(
            "{:.0} % of it byte by byte, {:.0} snapshots of {:.1} MiB in all for each",
            self.output as f64 / TOTAL / viewers * 100.0,
            self.snapshots as f64 / viewers,
            self.snapshot_bytes as f64 / viewers / 1024.0 / 1024.0
        )
    }
}

async fn flood(viewers: usize) -> Result<Flood> {
    flood_on(Server::start()?, viewers).await
}

/// Of the bytes that one viewer is sent of a flood, MB/s.
pub async fn speed_on(server: Server) -> Result<f64> {
    Ok(flood_on(server, 1).await?.speed)
}

async fn flood_on(server: Server, viewers: usize) -> Result<Flood> {
    server.run("flood", &["flood", &FLOOD.to_string()]).await?;
    let before = server.program.memory("VmRSS");
    let mut tasks = Vec::new();
    let mut writer = None;
    for _ in 0..viewers {
        let (mut reader, own_writer) = server.watch("flood").await?;
        writer.get_or_insert(own_writer);
        tasks.push(tokio::spawn(async move {
            let mut seen = Seen::default();
            loop {
                let event = reader.next().await?;
                let exited = matches!(event, TerminalEvent::Frame(ServerFrame::Exit { .. }));
                if seen.take(&event) || exited {
                    return Result::Ok((seen, Instant::now()));
                }
            }
        }));
    }
    let begin = Instant::now();
    writer
        .as_mut()
        .ok_or("nobody types")?
        .input(Bytes::from_static(b"g"))
        .await?;
    let mut last = begin;
    let mut flood = Flood {
        speed: 0.0,
        output: 0,
        snapshots: 0,
        snapshot_bytes: 0,
        growth: 0,
        right_screens: 0,
    };
    for task in tasks {
        let (seen, end) = task.await??;
        last = last.max(end);
        flood.output += seen.output;
        flood.snapshots += seen.snapshots;
        flood.snapshot_bytes += seen.snapshot_bytes;
        flood.right_screens += usize::from(is_right(&seen)?);
    }
    flood.speed = TOTAL / (last - begin).as_secs_f64() / 1e6;
    flood.growth = server.program.memory("VmRSS").saturating_sub(before);
    Ok(flood)
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
    Ok((TOTAL / seconds / 1e6, gap / 1e3))
}
