use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What happened to agents, numbered without gaps, for `GET /events`: what the database keeps of
/// it, read once at the start, so that listeners cost the database nothing.
#[derive(Debug)]
pub struct Events {
    keep: Keep,
    log: Mutex<Log>,
    changes: watch::Sender<()>,
}

/// How much of the past a listener can resume from.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Events at most.
    pub count: usize,
    /// No older than this.
    pub age: Duration,
}

impl Keep {
    /// When something happens at `at`, events from before this are no longer kept, in milliseconds
    /// since 1970.
    pub fn oldest(&self, at: i64) -> i64 {
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        at.saturating_sub(age)
    }
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Event>,
    /// The number of the last event there ever was; 0 before the first.
    last: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Greater by one each time, over restarts of the service too.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// `created`, `started`, `adopted`, `exited`, `restart_scheduled`, `restarted`, `edited`, `recording_ended`,
    /// `health`, `progress` or `deleted`.
    pub kind: String,
    /// JSON.
    pub data: String,
}

/// Where a listener goes on.
#[derive(Debug)]
pub enum Resumed {
    /// After the event of this number.
    After(u64),
    /// After the event of this number: of what came before it something is no longer kept, or was
    /// never there.
    Gap(u64),
}

impl Events {
    /// Those that were kept, oldest first, of which `last` was the newest ever.
    pub fn new(keep: Keep, kept: Vec<Event>, last: u64) -> Self {
        let log = Log {
            events: kept.into(),
            last,
        };
        Events {
            keep,
            log: Mutex::new(log),
            changes: watch::Sender::new(()),
        }
    }

    /// How much is kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// These happened, and are on the disk.
    pub fn extend(&self, events: &[Event]) {
        let Some(newest) = events.last() else { return };
        let mut log = self.lock();
        log.last = newest.id;
        log.events.extend(events.iter().cloned());
        let oldest = self.keep.oldest(newest.at);
        let count = self.keep.count;
        while log.events.len() > count || log.events.front().is_some_and(|e| e.at < oldest) {
            log.events.pop_front();
        }
        drop(log);
        self.changes.send_replace(());
    }

    /// Where a listener begins whose last event had this number; without one, at the end.
    pub fn resume(&self, last: Option<u64>) -> Resumed {
        let log = self.lock();
        let Some(last) = last else {
            return Resumed::After(log.last);
        };
        let first = log.events.front().map_or(log.last + 1, |event| event.id);
        match last.checked_add(1).is_some_and(|next| next >= first) && last <= log.last {
            true => Resumed::After(last),
            false => Resumed::Gap(log.last),
        }
    }

    /// The first event after number `last`. An error is the number of the last event: some of those
    /// between are no longer kept.
    pub fn after(&self, last: u64) -> Result<Option<Event>, u64> {
        let log = self.lock();
        let index = log.events.partition_point(|event| event.id <= last);
        match log.events.get(index) {
            Some(event) if event.id == last + 1 => Ok(Some(event.clone())),
            None if log.last <= last => Ok(None),
            _ => Err(log.last),
        }
    }

    /// Notified of every new event.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64, at: i64) -> Event {
        Event {
            id,
            at,
            kind: "started".to_owned(),
            data: "{}".to_owned(),
        }
    }

    fn events(count: usize, kept: &[(u64, i64)]) -> Events {
        let keep = Keep {
            count,
            age: Duration::from_millis(100),
        };
        let kept: Vec<Event> = kept.iter().map(|(id, at)| event(*id, *at)).collect();
        let last = kept.last().map_or(0, |event| event.id);
        Events::new(keep, kept, last)
    }

    #[test]
    fn a_listener_resumes_or_learns_of_a_gap() {
        let events = events(3, &[(4, 0), (5, 0)]);
        assert!(matches!(events.resume(None), Resumed::After(5)));
        assert!(matches!(events.resume(Some(3)), Resumed::After(3)));
        assert!(matches!(events.resume(Some(5)), Resumed::After(5)));
        assert!(matches!(events.resume(Some(2)), Resumed::Gap(5)));
        // From another database.
        assert!(matches!(events.resume(Some(6)), Resumed::Gap(5)));
        assert!(matches!(events.resume(Some(u64::MAX)), Resumed::Gap(5)));
    }

    #[test]
    fn a_listener_that_falls_behind_learns_of_it() {
        let events = events(2, &[(1, 0), (2, 0)]);
        assert_eq!(events.after(1), Ok(Some(event(2, 0))));
        events.extend(&[event(3, 0), event(4, 0)]);
        assert_eq!(events.after(1), Err(4));
        assert_eq!(events.after(4), Ok(None));
    }

    #[test]
    fn what_is_too_old_is_not_kept() {
        let events = events(9, &[(1, 0), (2, 50)]);
        events.extend(&[event(3, 120)]);
        assert_eq!(events.after(0), Err(3));
        assert_eq!(events.after(1), Ok(Some(event(2, 50))));
    }
}
