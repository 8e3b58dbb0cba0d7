//! What the service manager that has started this service is notified of, such as systemd of a unit with
//! `Type=notify` (sd_notify(3)). Without one nothing is done.

use std::future;
use std::sync::Once;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::interval;

/// It serves, and its sessions of before are known. `status` is for people.
pub(crate) async fn ready(status: String) {
    notify(NotifyState::Ready, status).await;
}

/// It has begun to end.
pub(crate) async fn stopping() {
    notify(NotifyState::Stopping, "ending".to_owned()).await;
}

/// For as long as it is polled, says that the service is alive where the manager ends it otherwise
/// (`WatchdogSec`): twice in the time that it is given, with a new status.
pub(crate) async fn keep_alive(status: impl Fn() -> String) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    else {
        return future::pending().await;
    };
    let mut pause = interval((patience / 2).max(Duration::from_millis(1)));
    loop {
        pause.tick().await;
        notify(NotifyState::Watchdog, status()).await;
    }
}

async fn notify(state: NotifyState<'static>, status: String) {
    send(move || sd_notify::notify(&[state, NotifyState::Status(&status)])).await;
}

/// By a thread of its own: a manager that does not read holds nothing else up.
async fn send(message: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    static ONCE: Once = Once::new();
    if let Ok(Err(error)) = spawn_blocking(message).await {
        ONCE.call_once(|| tracing::warn!("the service manager cannot be notified: {error}"));
    }
}
