use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of the sessions that are listed while backends are asked for their own; remembers none
/// at other times.
#[derive(Default)]
pub struct Meanwhile(Arc<Mutex<Askings>>);

/// What is remembered for each who asks, by number.
#[derive(Default)]
struct Askings {
    next: u64,
    listed: BTreeMap<u64, Vec<String>>,
}

/// One who asks. What is remembered is forgotten when it is dropped, also when the asking is given
/// up.
pub struct Asking {
    meanwhile: Meanwhile,
    number: u64,
}

impl Meanwhile {
    /// Begins to remember.
    pub fn begin(&self) -> Asking {
        let mut askings = self.lock();
        let number = askings.next;
        askings.next += 1;
        askings.listed.insert(number, Vec::new());
        Asking {
            meanwhile: Meanwhile(self.0.clone()),
            number,
        }
    }

    /// A session is listed.
    pub fn note(&self, id: &str) {
        for listed in self.lock().listed.values_mut() {
            listed.push(id.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Askings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Those that were listed since it began.
    pub fn end(self) -> Vec<String> {
        let listed = &mut self.meanwhile.lock().listed;
        listed.remove(&self.number).unwrap_or_default()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.meanwhile.lock().listed.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_remembered_only_while_somebody_asks() {
        let meanwhile = Meanwhile::default();
        meanwhile.note("before");
        let asking = meanwhile.begin();
        meanwhile.note("one");
        let beside_it = meanwhile.begin();
        meanwhile.note("two");
        assert_eq!(asking.end(), ["one", "two"]);
        assert_eq!(beside_it.end(), ["two"]);
        meanwhile.note("after");

        drop(meanwhile.begin());
        meanwhile.note("after it was given up");
        assert!(meanwhile.lock().listed.is_empty());
    }
}
