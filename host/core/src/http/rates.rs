use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many are remembered; then those who have come back to nothing are forgotten.
const REMEMBERED: usize = 4096;

/// How often each may do something: so many times at once, and as many in each interval.
#[derive(Debug)]
pub struct Rates<K> {
    most: f64,
    per_second: f64,
    used: Mutex<HashMap<K, Used>>,
}

/// What somebody has used up, as of that moment.
#[derive(Clone, Copy, Debug)]
struct Used {
    amount: f64,
    at: Instant,
}

impl<K: Hash + Eq> Rates<K> {
    /// So many for each in each `interval`.
    pub fn new(most: u32, interval: Duration) -> Self {
        let most = f64::from(most);
        Rates {
            most,
            per_second: most / interval.as_secs_f64(),
            used: Mutex::default(),
        }
    }

    /// Takes one, or says how long there is none.
    pub fn take(&self, who: K, now: Instant) -> Result<(), Duration> {
        self.wait(&who, now)?;
        self.charge(who, now);
        Ok(())
    }

    /// How long there is none.
    pub fn wait(&self, who: &K, now: Instant) -> Result<(), Duration> {
        let used = self.lock();
        let over = used.get(who).map_or(0.0, |used| self.now(*used, now)) + 1.0 - self.most;
        match over > 0.0 {
            true => Err(Duration::from_secs_f64(over / self.per_second)),
            false => Ok(()),
        }
    }

    /// Takes one that was not asked for.
    pub fn charge(&self, who: K, now: Instant) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED {
            all.retain(|_, used| self.now(*used, now) > 0.0);
        }
        if all.len() >= REMEMBERED && !all.contains_key(&who) {
            // As many have done this lately: the one that has done the least makes room, so that
            // nobody is forgotten for whom this is about.
            let least = all.values().map(|used| self.now(*used, now));
            let least = least.fold(f64::INFINITY, f64::min);
            all.retain(|_, used| self.now(*used, now) > least);
        }
        let used = all.entry(who).or_insert(Used {
            amount: 0.0,
            at: now,
        });
        // No more than there is, so that what is refused is not paid for later.
        used.amount = (self.now(*used, now) + 1.0).min(self.most);
        used.at = now;
    }

    /// Gives one back.
    pub fn give_back(&self, who: &K) {
        if let Some(used) = self.lock().get_mut(who) {
            used.amount = (used.amount - 1.0).max(0.0);
        }
    }

    fn now(&self, used: Used, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(used.at).as_secs_f64();
        (used.amount - passed * self.per_second).max(0.0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_as_many_as_the_others_and_more_after_a_while() {
        let rates = Rates::new(10, Duration::from_secs(60));
        let now = Instant::now();
        for _ in 0..10 {
            rates.take("one", now).unwrap();
        }
        let wait = rates.take("one", now).unwrap_err();
        assert!((5.9..6.1).contains(&wait.as_secs_f64()), "{wait:?}");
        rates.take("other", now).unwrap();
        rates.take("one", now + Duration::from_secs(7)).unwrap();
        rates.take("one", now + Duration::from_secs(7)).unwrap_err();
        for _ in 0..10 {
            rates.take("one", now + Duration::from_secs(100)).unwrap();
        }
    }

    #[test]
    fn a_crowd_is_not_remembered_for_ever_and_hides_nobody() {
        let rates = Rates::new(10, Duration::from_secs(60));
        let now = Instant::now();
        for _ in 0..10 {
            rates.take(0, now).unwrap();
        }
        for who in 1..20_000 {
            rates.charge(who, now);
        }
        assert!(rates.lock().len() <= REMEMBERED);
        rates.take(0, now).unwrap_err();
    }
}
