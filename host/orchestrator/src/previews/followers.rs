use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_api::State;
use agentd_host::session::Session;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{INTERVAL, LINES};

/// So many logs are followed at the same time. Where there are more agents they take turns, so that a
/// long list takes neither all descriptors nor all that the backend has.
const AT_ONCE: usize = 200;

/// So many logs are opened in one interval.
const OPENED: usize = 25;

/// So many lines are read of a log in one interval. One that writes more is left for the rest of it,
/// and its newest lines are read after that.
const READ: usize = 500;

/// The pause before a log is opened again that has ended before its session: twice as long each time.
const PAUSES: (Duration, Duration) = (INTERVAL, Duration::from_secs(30));

/// The last lines of sessions whose screens only their backend has, by following their logs.
#[derive(Debug, Default)]
pub struct Followers {
    /// By the session's id.
    followers: HashMap<String, Follower>,
    /// How often [`follow`](Self::follow) was called.
    turn: u64,
}

#[derive(Debug)]
struct Follower {
    tail: Arc<Mutex<Tail>>,
    /// The turn in which it began or ended to read, 0 before that.
    since: u64,
    reading: Option<Reading>,
}

/// Ends when it is dropped.
#[derive(Debug)]
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The last lines of a log.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// Whether nobody was given them yet.
    is_new: bool,
    /// Whether there will be no more lines.
    is_complete: bool,
}

impl Tail {
    /// One more line, or all that can be seen now; see [`agentd_plugin_api::LogQuery::preview`].
    fn take(&mut self, line: String) {
        self.is_new = true;
        match line.strip_suffix('\n') {
            Some(all) => self.lines = all.split('\n').map(str::to_owned).collect(),
            None => self.lines.push_back(line),
        }
        let left_out = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..left_out);
    }
}

impl Followers {
    /// Follows the logs of these sessions, and of no others.
    pub fn follow(&mut self, sessions: &[Arc<Session>]) {
        self.turn += 1;
        let ids: std::collections::HashSet<&str> = sessions.iter().map(|s| &*s.id).collect();
        self.followers.retain(|id, _| ids.contains(&**id));
        for session in sessions {
            if !self.followers.contains_key(&session.id) {
                self.followers.insert(session.id.clone(), Follower::new());
            }
        }
        for id in self.change_turns() {
            if let Some(session) = sessions.iter().find(|session| session.id == id)
                && let Some(follower) = self.followers.get_mut(&id)
            {
                let reading = read(session.clone(), follower.tail.clone());
                follower.reading = Some(Reading(tokio::spawn(reading)));
            }
        }
    }

    /// A session's last lines, if they have changed since they were taken.
    pub fn take(&self, session: &str) -> Option<Vec<String>> {
        let mut tail = lock(&self.followers.get(session)?.tail);
        std::mem::take(&mut tail.is_new).then(|| tail.lines.iter().cloned().collect())
    }

    /// Those whose turn begins. As many of those that had the longest end theirs as there are too many.
    fn change_turns(&mut self) -> Vec<String> {
        let turn = self.turn;
        for follower in self.followers.values_mut() {
            if follower.reading.is_some() && lock(&follower.tail).is_complete {
                follower.end(turn);
            }
        }
        let (reading, mut waiting): (Vec<_>, Vec<_>) = self
            .followers
            .iter_mut()
            .filter(|(_, follower)| !lock(&follower.tail).is_complete)
            .partition(|(_, follower)| follower.reading.is_some());
        waiting.sort_by_key(|(_, follower)| follower.since);
        waiting.truncate(OPENED);
        let mut reading = reading;
        reading.sort_by_key(|(_, follower)| follower.since);
        let too_many = (reading.len() + waiting.len()).saturating_sub(AT_ONCE);
        for (_, follower) in reading.into_iter().take(too_many) {
            follower.end(turn);
        }
        let begins = |(id, follower): (&String, &mut Follower)| {
            follower.since = turn;
            id.clone()
        };
        waiting.into_iter().map(begins).collect()
    }
}

impl Follower {
    fn new() -> Self {
        Follower {
            tail: Arc::default(),
            since: 0,
            reading: None,
        }
    }

    fn end(&mut self, turn: u64) {
        self.reading = None;
        self.since = turn;
    }
}

/// Reads a log until the session has ended and all of it was read.
async fn read(session: Arc<Session>, tail: Arc<Mutex<Tail>>) {
    session.started().await;
    let (mut pause, longest) = PAUSES;
    loop {
        let had_ended = session.record().state == State::Exited;
        let began = Instant::now();
        let is_whole = read_once(&session, &tail).await;
        if had_ended && is_whole {
            break;
        }
        if began.elapsed() > longest {
            pause = PAUSES.0;
        }
        match is_whole {
            // It writes faster than it is read here.
            false => sleep(INTERVAL).await,
            true => {
                // An end of the session that comes now is no reason to wait.
                tokio::select! {
                    () = session.ended(), if !had_ended => {}
                    () = sleep(pause) => {}
                }
                pause = longest.min(pause * 2);
            }
        }
    }
    lock(&tail).is_complete = true;
}

/// Reads the last lines and what follows. False if there is more than should be read.
async fn read_once(session: &Arc<Session>, tail: &Mutex<Tail>) -> bool {
    let Ok(mut lines) = session.preview(LINES as u64) else {
        return true;
    };
    let mut interval = (Instant::now(), 0);
    let mut is_first = true;
    while let Some(line) = lines.recv().await {
        {
            let mut tail = lock(tail);
            if std::mem::take(&mut is_first) {
                tail.lines.clear();
            }
            tail.take(line.line);
        }
        if interval.0.elapsed() > INTERVAL {
            interval = (Instant::now(), 0);
        }
        interval.1 += 1;
        if interval.1 > READ {
            return false;
        }
    }
    true
}

fn lock(tail: &Mutex<Tail>) -> std::sync::MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followers(count: usize) -> Followers {
        let follower = |number| (format!("{number}"), Follower::new());
        Followers {
            followers: (0..count).map(follower).collect(),
            turn: 0,
        }
    }

    /// One more turn, in which those that begin read for ever.
    fn turn(followers: &mut Followers) -> Vec<String> {
        followers.turn += 1;
        let begun = followers.change_turns();
        for id in &begun {
            let reading = Reading(tokio::spawn(std::future::pending()));
            followers.followers.get_mut(id).unwrap().reading = Some(reading);
        }
        let reading = followers.followers.values();
        assert!(reading.filter(|f| f.reading.is_some()).count() <= AT_ONCE);
        begun
    }

    #[tokio::test]
    async fn a_thousand_logs_are_read_in_turns() {
        let mut all = followers(1000);
        let mut read = std::collections::HashSet::new();
        for _ in 0..1000 / OPENED {
            let begun = turn(&mut all);
            assert_eq!(begun.len(), OPENED);
            read.extend(begun);
        }
        assert_eq!(read.len(), 1000);
        assert_eq!(turn(&mut all).len(), OPENED);
    }

    #[tokio::test]
    async fn few_logs_are_followed_all_the_time_until_they_are_complete() {
        let mut all = followers(OPENED);
        assert_eq!(turn(&mut all).len(), OPENED);
        assert!(turn(&mut all).is_empty());
        lock(&all.followers["3"].tail).is_complete = true;
        assert!(turn(&mut all).is_empty());
        assert!(all.followers["3"].reading.is_none());
        assert!(all.followers["4"].reading.is_some());
    }

    #[test]
    fn lines_are_added_and_what_can_be_seen_replaces_them() {
        let mut tail = Tail::default();
        for number in 0..LINES + 3 {
            tail.take(number.to_string());
        }
        assert_eq!(tail.lines, ["3", "4", "5", "6", "7"]);
        tail.take("one\ntwo\n".to_owned());
        assert_eq!(tail.lines, ["one", "two"]);
        tail.take("three".to_owned());
        assert_eq!(tail.lines, ["one", "two", "three"]);
        assert!(tail.is_new);
    }
}
