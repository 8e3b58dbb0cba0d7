use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::server::Server;
use agentd_host::testing::Table;

const SESSIONS: u64 = 1000;

/// Longer than an idle screen stays awake.
const SETTLED: Duration = Duration::from_secs(130);
const WATCHED: Duration = Duration::from_secs(10);

/// A thousand sessions that do nothing.
pub async fn measure(table: &mut Table) -> Result {
    let server = Server::start()?;
    server.run("first", &["sleep"]).await?;
    let before = server.program.memory("VmRSS");
    for number in 0..SESSIONS {
        server.run(&format!("idle{number}"), &["sleep"]).await?;
    }
    sleep(SETTLED).await;
    let slope =
        server.program.memory("VmRSS").saturating_sub(before) as f64 / SESSIONS as f64 / 1024.0;
    let value = format!("{slope:.1} KiB");
    table.row("memory per idle session", value, "≤ 32 KiB", slope <= 32.0);

    let sleeps = server.sleeps()?;
    sleep(WATCHED).await;
    let wake_ups = (server.sleeps()? - sleeps) as f64 / WATCHED.as_secs_f64();
    let value = format!("{wake_ups:.1} per second in all");
    table.row(
        "wake-ups with 1000 idle sessions",
        value,
        "0 from sessions",
        wake_ups < 1.0,
    );
    Ok(())
}
