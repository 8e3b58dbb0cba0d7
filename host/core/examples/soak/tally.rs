use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// What was done how often, and what went wrong.
pub struct Tally {
    only: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: BTreeMap<&'static str, u64>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet; `only` as on the command line.
    pub fn new(only: &[String]) -> Self {
        Tally {
            only: only.to_vec(),
            state: Mutex::default(),
        }
    }

    /// Whether the operation was asked for.
    pub fn wants(&self, operation: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == operation)
    }

    /// Counts an operation.
    pub fn done(&self, operation: &'static str) {
        *self.lock().done.entry(operation).or_default() += 1;
    }

    /// Counts a failure.
    pub fn failed(&self, what: String) {
        *self.lock().failures.entry(what).or_default() += 1;
    }

    /// Operations so far.
    pub fn count(&self) -> u64 {
        self.lock().done.values().sum()
    }

    /// One line for each kind of failure.
    pub fn failures(&self) -> Vec<String> {
        let line = |(what, count): (&String, &u64)| format!("{count} × {what}");
        self.lock().failures.iter().map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let counts = state
            .done
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}
