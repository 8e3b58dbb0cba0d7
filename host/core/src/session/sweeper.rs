use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{ScreenThreads, Session};
use crate::memory;

/// Puts the screens away that nobody looked at and nothing changed for `idle`, and gives back the
/// memory of those that are gone: one task for all sessions, which sleeps for good while no screen
/// is awake. Ends at the first look for which `list` gives no sessions.
pub async fn sweep(
    list: impl Fn() -> Option<Vec<Arc<Session>>>,
    activity: Arc<Notify>,
    idle: Duration,
    screens: Arc<ScreenThreads>,
) {
    loop {
        activity.notified().await;
        let mut awake_before = usize::MAX;
        loop {
            tokio::time::sleep(idle).await;
            let Some(sessions) = list() else { return };
            let mut awake = 0;
            for session in sessions {
                if session.viewer_count() > 0 || !session.put_away(idle).await {
                    awake += 1;
                }
            }
            if awake < awake_before {
                screens.run(memory::give_back).await;
            }
            if awake == 0 {
                break;
            }
            awake_before = awake;
        }
    }
}
