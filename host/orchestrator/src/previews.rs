mod ended;
mod followers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use agentd_api::State;
use agentd_host::session::{Session, Sessions};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::store::Store;
use followers::Followers;

/// Lines of a preview, at most.
const LINES: usize = 5;

/// Characters of a line, at most.
const LONGEST_LINE: usize = 500;

/// A session's preview changes at most so often.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last lines of each agent's output, for those who listen to the events. While nobody
/// listens no screen is looked at, and never one of a session that has written nothing since. Where
/// only the backend has the screen its log is followed, while somebody listens who asked for that. Those
/// that ended before this service began show what is kept of them.
#[derive(Debug)]
pub struct Previews {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    shown: watch::Sender<Shown>,
    listeners: watch::Sender<Listeners>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Listeners {
    all: usize,
    /// Those of them for whom logs are followed.
    of_logs: usize,
}

#[derive(Debug, Default)]
struct Shown {
    /// How often any preview changed.
    changes: u64,
    /// By the agent's id.
    agents: HashMap<String, Preview>,
    /// The ids of those whose newest session ended before this service began.
    ended: HashSet<String>,
}

#[derive(Debug)]
struct Preview {
    /// The id of the session.
    session: String,
    /// The position in the session's output, where that comes here.
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
    of_logs: bool,
}

impl Previews {
    /// Keeps previews of these sessions, and of what `store` has of earlier ones. Made on the host's
    /// runtime.
    pub fn new(sessions: Sessions, store: Arc<Store>) -> Self {
        let shared = Arc::<Shared>::default();
        let keeper = tokio::spawn(keep(shared.clone(), sessions, store));
        Previews { shared, keeper }
    }

    /// That agent is deleted.
    pub fn forget(&self, agent: &str) {
        self.shared.shown.send_if_modified(|shown| {
            shown.ended.remove(agent);
            shown.agents.remove(agent);
            // Who listens is notified of that by an event.
            false
        });
    }

    /// One more listener; `of_logs`: for whom logs are followed.
    pub fn listen(&self, of_logs: bool) -> Listener {
        Listener::new(&self.shared, of_logs)
    }
}

impl Drop for Previews {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Listener {
    fn new(shared: &Arc<Shared>, of_logs: bool) -> Self {
        shared.listeners.send_modify(|listeners| {
            listeners.all += 1;
            listeners.of_logs += usize::from(of_logs);
        });
        Listener {
            shared: shared.clone(),
            shown: shared.shown.subscribe(),
            seen: 0,
            of_logs,
        }
    }

    /// All of them are taken once more, as by a new listener.
    pub fn begin_anew(&mut self) {
        self.seen = 0;
        self.shown.mark_changed();
    }

    /// The previews that changed since the last call, as JSON, the oldest change first, of those agents
    /// whose ids `is_seen` wants.
    pub fn take(&mut self, is_seen: impl Fn(&str) -> bool) -> Vec<String> {
        let shown = self.shown.borrow_and_update();
        let mut new: Vec<_> = shown
            .agents
            .iter()
            .filter(|(id, preview)| preview.change > self.seen && is_seen(id))
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
        self.shared.listeners.send_modify(|listeners| {
            listeners.all -= 1;
            listeners.of_logs -= usize::from(self.of_logs);
        });
    }
}

async fn keep(shared: Arc<Shared>, sessions: Sessions, store: Arc<Store>) {
    let mut listeners = shared.listeners.subscribe();
    let mut followers = Followers::default();
    // Begun once, and ended with this.
    let mut reading = None;
    loop {
        let Listeners { all, of_logs } = *listeners.borrow_and_update();
        if of_logs == 0 {
            followers = Followers::default();
        }
        if all == 0 {
            // The sender lives as long as `shared`.
            let _ = listeners.changed().await;
            continue;
        }
        reading.get_or_insert_with(|| {
            let read = ended::show(shared.clone(), sessions.clone(), store.clone());
            JoinSet::from_iter([read])
        });
        let (here, elsewhere): (Vec<_>, Vec<_>) = sessions
            .list()
            .into_iter()
            .filter(|session| session.label.owner.is_some())
            .partition(|session| session.has_terminal() || shows_itself(session));
        if of_logs > 0 {
            followers.follow(&elsewhere);
        }
        refresh(&shared.shown, &followers, here, &elsewhere).await;
        tokio::select! {
            () = sleep(INTERVAL) => {}
            // Nothing is followed for those who have left.
            _ = listeners.wait_for(|listeners| listeners.of_logs == 0), if of_logs > 0 => {}
        }
    }
}

/// Whether its backend reports what it shows. What it showed last its log has.
fn shows_itself(session: &Session) -> bool {
    session.printed() > 0 && session.record().state != State::Exited
}

async fn refresh(
    shown: &watch::Sender<Shown>,
    followers: &Followers,
    here: Vec<Arc<Session>>,
    elsewhere: &[Arc<Session>],
) {
    let changed: Vec<_> = {
        let shown = shown.borrow();
        let behind = here.iter().filter(|session| shown.is_behind(session));
        behind.cloned().collect()
    };
    let followed = |session: &Arc<Session>| preview(session, 0, followers.take(&session.id)?);
    let followed: Vec<_> = elsewhere.iter().filter_map(followed).collect();
    let looked = match changed.is_empty() {
        true => Vec::new(),
        // Not here: a screen may be as large as a megabyte.
        false => spawn_blocking(move || look(&changed))
            .await
            .unwrap_or_default(),
    };
    shown.send_if_modified(|shown| {
        shown.forget_others(here.iter().chain(elsewhere));
        looked
            .into_iter()
            .chain(followed)
            .fold(false, |any, (id, preview)| shown.show(id, preview) || any)
    });
}

/// What their screens show. One that is being written to just now is left for the next time.
fn look(sessions: &[Arc<Session>]) -> Vec<(String, Preview)> {
    let preview = |session: &Arc<Session>| {
        let (position, lines) = session.last_shown(LINES)?;
        preview(session, position, lines)
    };
    sessions.iter().filter_map(preview).collect()
}

/// With the id of the session's agent.
fn preview(session: &Session, position: u64, lines: Vec<String>) -> Option<(String, Preview)> {
    let preview = Preview::new(session.id.clone(), position, lines);
    Some((session.label.owner.clone()?, preview))
}

impl Preview {
    fn new(session: String, position: u64, lines: Vec<String>) -> Self {
        let cut = |line: String| line.chars().take(LONGEST_LINE).collect();
        Preview {
            session,
            position,
            lines: lines.into_iter().map(cut).collect(),
            change: 0,
        }
    }
}

impl Shown {
    /// Whether the session has written something since its preview was made.
    fn is_behind(&self, session: &Session) -> bool {
        let Some(owner) = &session.label.owner else {
            return false;
        };
        let head = session.printed();
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

    /// What an agent showed last that ended before this service began, unless it was started again or
    /// deleted since then. True if that is new.
    fn show_ended(&mut self, id: String, preview: Option<Preview>) -> bool {
        if !self.ended.contains(&id) || self.agents.contains_key(&id) {
            return false;
        }
        match preview {
            Some(preview) => self.show(id, preview),
            None => {
                self.ended.remove(&id);
                false
            }
        }
    }

    fn forget_others<'a>(&mut self, sessions: impl Iterator<Item = &'a Arc<Session>>) {
        if self.agents.is_empty() && self.ended.is_empty() {
            return;
        }
        let owners = sessions.filter_map(|s| s.label.owner.as_deref());
        let owners: HashSet<&str> = owners.collect();
        self.ended.retain(|id| !owners.contains(id.as_str()));
        let ended = &self.ended;
        self.agents
            .retain(|id, _| owners.contains(id.as_str()) || ended.contains(id));
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
        let mut listener = Listener::new(&shared, true);
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
        assert_eq!(
            listener.take(|_| true),
            [r#"{"id":"two","lines":["b"]}"#, one]
        );
        assert!(listener.take(|_| true).is_empty());
        assert!(show("one", &["d"]));
        assert_eq!(listener.take(|_| true), [r#"{"id":"one","lines":["d"]}"#]);
        drop(listener);
        assert_eq!(*shared.listeners.borrow(), Listeners::default());
    }

    #[test]
    fn what_ended_before_is_shown_until_it_is_started_again_or_deleted() {
        let mut shown = Shown::default();
        let ended = |id: &str| (id.to_owned(), Some(preview(&["old"])));
        shown
            .ended
            .extend(["one", "two", "three"].map(str::to_owned));
        for (id, preview) in ["one", "two", "deleted"].map(ended) {
            assert_eq!(shown.show_ended(id.clone(), preview), id != "deleted");
        }
        assert!(!shown.show_ended("three".to_owned(), None));
        // None of them has a session.
        shown.forget_others([].iter());
        assert_eq!(shown.ended.len(), 2);
        assert_eq!(shown.agents.len(), 2);

        assert!(shown.show("one".to_owned(), preview(&["new"])));
        let (id, late) = ended("one");
        assert!(!shown.show_ended(id, late));
        assert_eq!(shown.agents["one"].lines, ["new"]);
    }
}
