use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agentd_host::session::{Session, Sessions};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

/// Lines of a preview, at most.
const LINES: usize = 5;

/// Characters of a line, at most.
const LONGEST_LINE: usize = 500;

/// A session's preview changes at most so often.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last lines of each agent's screen, for those who listen to the events. While nobody
/// listens no screen is looked at, and never one of a session that has written nothing since.
#[derive(Debug)]
pub struct Previews {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    shown: watch::Sender<Shown>,
    listeners: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Shown {
    /// How often any preview changed.
    changes: u64,
    /// By the agent's id.
    agents: HashMap<String, Preview>,
}

#[derive(Debug)]
struct Preview {
    /// The id of the session.
    session: String,
    /// The position in the session's output.
    position: u64,
    lines: Vec<String>,
    /// The number of its last change.
    change: u64,
}

/// One who is shown all previews, and then those that change.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    shown: watch::Receiver<Shown>,
    seen: u64,
}

impl Previews {
    /// Keeps previews of these sessions. Made on the host's runtime.
    pub fn new(sessions: Sessions) -> Self {
        let shared = Arc::<Shared>::default();
        let keeper = tokio::spawn(keep(shared.clone(), sessions));
        Previews { shared, keeper }
    }

    /// One more listener.
    pub fn listen(&self) -> Listener {
        self.shared.listeners.send_modify(|count| *count += 1);
        Listener {
            shared: self.shared.clone(),
            shown: self.shared.shown.subscribe(),
            seen: 0,
        }
    }
}

impl Drop for Previews {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Listener {
    /// The previews that changed since the last call, as JSON, the oldest change first.
    pub fn take(&mut self) -> Vec<String> {
        let shown = self.shown.borrow_and_update();
        let mut new: Vec<_> = shown
            .agents
            .iter()
            .filter(|(_, preview)| preview.change > self.seen)
            .collect();
        new.sort_by_key(|(_, preview)| preview.change);
        self.seen = shown.changes;
        let data = |(id, preview): (&String, &Preview)| {
            json!({ "id": id, "lines": preview.lines }).to_string()
        };
        new.into_iter().map(data).collect()
    }

    /// Waits until there may be something to [`take`](Self::take).
    pub async fn changed(&mut self) {
        // The sender lives as long as `self`.
        let _ = self.shown.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.listeners.send_modify(|count| *count -= 1);
    }
}

async fn keep(shared: Arc<Shared>, sessions: Sessions) {
    let mut listeners = shared.listeners.subscribe();
    // The sender lives as long as `shared`.
    while listeners.wait_for(|count| *count > 0).await.is_ok() {
        refresh(&shared.shown, sessions.list()).await;
        sleep(INTERVAL).await;
    }
}

async fn refresh(shown: &watch::Sender<Shown>, sessions: Vec<Arc<Session>>) {
    let changed: Vec<_> = {
        let shown = shown.borrow();
        let behind = sessions.iter().filter(|session| shown.is_behind(session));
        behind.cloned().collect()
    };
    let looked = match changed.is_empty() {
        true => Vec::new(),
        // Not here: a screen may be as large as a megabyte.
        false => spawn_blocking(move || look(&changed))
            .await
            .unwrap_or_default(),
    };
    shown.send_if_modified(|shown| {
        shown.forget_others(&sessions);
        looked
            .into_iter()
            .fold(false, |any, (id, preview)| shown.show(id, preview) || any)
    });
}

/// What their screens show. One that is being written to just now is left for the next time.
fn look(sessions: &[Arc<Session>]) -> Vec<(String, Preview)> {
    let preview = |session: &Arc<Session>| {
        let (position, lines) = session.terminal.last_lines(LINES)?;
        let cut = |line: String| line.chars().take(LONGEST_LINE).collect();
        let preview = Preview {
            session: session.id.clone(),
            position,
            lines: lines.into_iter().map(cut).collect(),
            change: 0,
        };
        Some((session.label.owner.clone()?, preview))
    };
    sessions.iter().filter_map(preview).collect()
}

impl Shown {
    /// Whether the session has written something since its preview was made.
    fn is_behind(&self, session: &Session) -> bool {
        let Some(owner) = &session.label.owner else {
            return false;
        };
        let head = session.terminal.log().head();
        match self.agents.get(owner) {
            Some(preview) if preview.session == session.id => preview.position != head,
            _ => head > 0,
        }
    }

    /// True if it differs from what was shown.
    fn show(&mut self, id: String, mut preview: Preview) -> bool {
        let before = self.agents.get(&id);
        let is_new = before.is_none_or(|before| before.lines != preview.lines);
        if is_new {
            self.changes += 1;
        }
        preview.change = match before {
            Some(before) if !is_new => before.change,
            _ => self.changes,
        };
        self.agents.insert(id, preview);
        is_new
    }

    fn forget_others(&mut self, sessions: &[Arc<Session>]) {
        if self.agents.is_empty() {
            return;
        }
        let owners = sessions.iter().filter_map(|s| s.label.owner.as_deref());
        let owners: std::collections::HashSet<&str> = owners.collect();
        self.agents.retain(|id, _| owners.contains(id.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(lines: &[&str]) -> Preview {
        Preview {
            session: "s".to_owned(),
            position: 1,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            change: 0,
        }
    }

    #[test]
    fn a_listener_is_shown_what_changed_since_it_looked() {
        let shared = Arc::<Shared>::default();
        let mut listener = Listener {
            shared: shared.clone(),
            shown: shared.shown.subscribe(),
            seen: 0,
        };
        shared.listeners.send_modify(|count| *count += 1);
        let show = |id: &str, lines: &[&str]| {
            shared
                .shown
                .send_if_modified(|shown| shown.show(id.to_owned(), preview(lines)))
        };
        assert!(show("one", &["a"]));
        assert!(show("two", &["b"]));
        assert!(show("one", &["c"]));
        assert!(!show("two", &["b"]));
        let one = r#"{"id":"one","lines":["c"]}"#;
        assert_eq!(listener.take(), [r#"{"id":"two","lines":["b"]}"#, one]);
        assert!(listener.take().is_empty());
        assert!(show("one", &["d"]));
        assert_eq!(listener.take(), [r#"{"id":"one","lines":["d"]}"#]);
        drop(listener);
        assert_eq!(*shared.listeners.borrow(), 0);
    }
}
