use std::time::Instant;

use agentd_api::client::TerminalEvent;
use bytes::Bytes;

use crate::Result;
use crate::server::{Seen, Server};
use agentd_host::testing::{Table, median};

/// Attaching to a session that has written 8 MiB.
pub async fn measure(table: &mut Table) -> Result {
    let server = Server::start()?;
    server.run("log", &["flood", "8"]).await?;
    let (mut reader, mut writer) = server.watch("log").await?;
    writer.input(Bytes::from_static(b"g")).await?;
    let mut seen = Seen::default();
    while !seen.take(&reader.next().await?) {}

    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        let begin = Instant::now();
        let (mut reader, _writer) = server.watch("log").await?;
        let mut late = Seen::default();
        loop {
            let event = reader.next().await?;
            late.take(&event);
            if matches!(event, TerminalEvent::Snapshot(_)) {
                break;
            }
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        sizes.push((late.output + late.snapshot_bytes) as f64 / 1024.0);
        if late.screen()? != seen.screen()? {
            return Err("the late viewer sees another screen".into());
        }
    }
    let (time, size) = (median(times), median(sizes));
    let value = format!("{time:.1} ms, {size:.1} KiB");
    table.row(
        "attach after 8 MiB",
        value,
        "≤ 20 ms, ≤ 64 KiB",
        time <= 20.0 && size <= 64.0,
    );
    Ok(())
}
