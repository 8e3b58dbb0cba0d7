use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of the sessions that are listed while the backend is asked for its own; remembers none
/// at other times.
#[derive(Default)]
pub struct Meanwhile(Arc<Mutex<Option<Vec<String>>>>);

/// One who asks. What is remembered is forgotten when it is dropped, also when the asking is given
/// up.
pub struct Asking(Meanwhile);

impl Meanwhile {
    /// Begins to remember.
    pub fn begin(&self) -> Asking {
        *self.lock() = Some(Vec::new());
        Asking(Meanwhile(self.0.clone()))
    }

    /// A session is listed.
    pub fn note(&self, id: &str) {
        if let Some(listed) = &mut *self.lock() {
            listed.push(id.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Those that were listed since it began.
    pub fn end(self) -> Vec<String> {
        self.0.lock().take().unwrap_or_default()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        *self.0.lock() = None;
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
        meanwhile.note("two");
        assert_eq!(asking.end(), ["one", "two"]);
        meanwhile.note("after");

        drop(meanwhile.begin());
        meanwhile.note("after it was given up");
        assert_eq!(*meanwhile.lock(), None);
    }
}
