use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::keeper::Setting;
use crate::server::sleeps;
use agentd_host::testing::Table;

const SESSIONS: u64 = 1000;

/// Longer than an idle screen stays awake.
const SETTLED: Duration = Duration::from_secs(130);
const WATCHED: Duration = Duration::from_secs(10);

/// A thousand sessions that do nothing, in the service and then in a keeper.
pub async fn measure(table: &mut Table) -> Result {
    let setting = Setting::start("off")?;
    setting.server.run("first", &["sleep"]).await?;
    let before = setting.server.program.memory("VmRSS");
    start(&setting).await?;
    sleep(SETTLED).await;
    let slope = per_session(before, setting.server.program.memory("VmRSS"));
    let value = format!("{slope:.1} KiB");
    table.row("memory per idle session", value, "≤ 32 KiB", slope <= 32.0);
    let wake_ups = wake_ups(&setting).await?.service;
    let value = format!("{wake_ups:.1} per second in all");
    table.row(
        "wake-ups with 1000 idle sessions",
        value,
        "0 from sessions",
        wake_ups < 1.0,
    );
    setting.end().await?;
    in_a_keeper(table).await
}

async fn in_a_keeper(table: &mut Table) -> Result {
    let setting = Setting::start("on")?;
    setting.server.run("first", &["sleep"]).await?;
    let before = setting.memory().await?;
    start(&setting).await?;
    sleep(SETTLED).await;
    let after = setting.memory().await?;
    let slopes = [
        per_session(before.service, after.service),
        per_session(before.keeper, after.keeper),
        per_session(before.shared, after.shared),
    ];
    let [service, keeper, shared] = slopes;
    let sum: f64 = slopes.iter().sum();
    table.row(
        "memory per idle session in all processes with a keeper",
        format!(
            "{sum:.1} KiB ({service:.1} the service, {keeper:.1} the keeper, {shared:.1} shared)"
        ),
        "≤ 24 KiB",
        sum <= 24.0,
    );
    let wake_ups = wake_ups(&setting).await?;
    table.row(
        "wake-ups with 1000 idle sessions in a keeper",
        format!(
            "{:.1} per second in all; the keeper {:.1}",
            wake_ups.service, wake_ups.keeper
        ),
        "0 from sessions, 0 of the keeper",
        wake_ups.service < 1.0 && wake_ups.keeper == 0.0,
    );
    setting.end().await
}

async fn start(setting: &Setting) -> Result {
    for number in 0..SESSIONS {
        setting
            .server
            .run(&format!("idle{number}"), &["sleep"])
            .await?;
    }
    Ok(())
}

/// In KiB, of bytes.
fn per_session(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64 / SESSIONS as f64 / 1024.0
}

/// How often in a second they wake up.
struct WakeUps {
    service: f64,
    keeper: f64,
}

async fn wake_ups(setting: &Setting) -> Result<WakeUps> {
    let service = setting.server.program.pid();
    let keeper = setting.server.keeper().await?;
    // The question itself wakes it.
    sleep(Duration::from_secs(1)).await;
    let count = || -> Result<[u64; 2]> { Ok([sleeps(service)?, keeper.map_or(Ok(0), sleeps)?]) };
    let before = count()?;
    sleep(WATCHED).await;
    let after = count()?;
    let rate = |which: usize| (after[which] - before[which]) as f64 / WATCHED.as_secs_f64();
    Ok(WakeUps {
        service: rate(0),
        keeper: rate(1),
    })
}
