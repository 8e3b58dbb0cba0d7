use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::sessions::Shared;

/// A screen that nobody looks at and nothing changes is put away after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Puts the screens of idle sessions away: one task for all of them, which sleeps for good while
/// no screen is awake.
pub async fn sweep(sessions: Weak<Shared>, activity: Arc<Notify>) {
    loop {
        activity.notified().await;
        loop {
            tokio::time::sleep(IDLE).await;
            let Some(shared) = sessions.upgrade() else {
                return;
            };
            let sessions = shared.list();
            let awake = sessions
                .iter()
                .filter(|session| session.viewer_count() > 0 || !session.terminal.put_away(IDLE));
            if awake.count() == 0 {
                break;
            }
        }
    }
}
