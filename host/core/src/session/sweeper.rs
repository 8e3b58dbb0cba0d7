use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::sessions::Shared;

/// Puts the screens away that nobody looked at and nothing changed for `idle`: one task for all
/// sessions, which sleeps for good while no screen is awake.
pub async fn sweep(sessions: Weak<Shared>, activity: Arc<Notify>, idle: Duration) {
    loop {
        activity.notified().await;
        loop {
            tokio::time::sleep(idle).await;
            let Some(shared) = sessions.upgrade() else {
                return;
            };
            let sessions = shared.list();
            let awake = sessions
                .iter()
                .filter(|session| session.viewer_count() > 0 || !session.terminal.put_away(idle));
            if awake.count() == 0 {
                break;
            }
        }
    }
}
