use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Session;

/// Puts the screens away that nobody looked at and nothing changed for `idle`: one task for all
/// sessions, which sleeps for good while no screen is awake. Ends when `list` gives no sessions any
/// more.
pub async fn sweep(
    list: impl Fn() -> Option<Vec<Arc<Session>>>,
    activity: Arc<Notify>,
    idle: Duration,
) {
    loop {
        activity.notified().await;
        loop {
            tokio::time::sleep(idle).await;
            let Some(sessions) = list() else { return };
            let mut awake = 0;
            for session in sessions {
                if session.viewer_count() > 0 || !session.put_away(idle).await {
                    awake += 1;
                }
            }
            if awake == 0 {
                break;
            }
        }
    }
}
