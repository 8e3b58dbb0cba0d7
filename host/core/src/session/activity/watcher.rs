use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Rules;
use crate::session::{ScreenThreads, Session};

/// Sessions that print are looked at so often.
const TICK: Duration = Duration::from_millis(250);

/// Looks at the sessions whose programs print, until they are at rest: one task for all of them, which
/// sleeps for good while nothing is printed.
#[derive(Debug)]
pub struct Watcher {
    rules: Rules,
    /// Each of them once, see [`Session::watch`].
    queue: mpsc::UnboundedSender<Weak<Session>>,
}

impl Watcher {
    /// Looks at the screens on these threads. Made on the host's runtime.
    pub fn start(rules: Rules, screens: Arc<ScreenThreads>) -> Self {
        let (queue, sessions) = mpsc::unbounded_channel();
        tokio::spawn(watch(sessions, screens));
        Watcher { rules, queue }
    }

    /// What terminals say about their programs.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Looks at it from now on. The caller sees to it that it is not looked at yet.
    pub fn add(&self, session: Weak<Session>) {
        // It fails when the service ends.
        let _ = self.queue.send(session);
    }
}

async fn watch(mut queue: mpsc::UnboundedReceiver<Weak<Session>>, screens: Arc<ScreenThreads>) {
    let mut watched: Vec<Weak<Session>> = Vec::new();
    loop {
        if watched.is_empty() {
            match queue.recv().await {
                Some(session) => watched.push(session),
                None => return,
            }
        }
        sleep(TICK).await;
        while let Ok(session) = queue.try_recv() {
            watched.push(session);
        }
        let now = Instant::now();
        let sessions: Vec<_> = watched.iter().filter_map(Weak::upgrade).collect();
        let due: Vec<_> = sessions
            .iter()
            .filter(|session| session.look(now))
            .cloned()
            .collect();
        if !due.is_empty() {
            // Where a screen that is busy may be waited for.
            let read = move || due.iter().for_each(|session| session.judge());
            screens.run(read).await;
        }
        let goes_on =
            |session: &Arc<Session>| session.is_watched_on().then(|| Arc::downgrade(session));
        watched = sessions.iter().filter_map(goes_on).collect();
    }
}
