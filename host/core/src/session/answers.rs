use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers beyond this are dropped, in bytes: the program asks and does not read.
const MOST: usize = 64 * 1024;

/// What a program is to be answered by its terminal, on its way to the program. It waits here
/// behind the viewers' input, so that nobody who reads the program's output does.
#[derive(Debug, Default)]
pub struct Answers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    delivering: bool,
}

impl Answers {
    /// Adds answers, whole or not at all. True for the caller that has to deliver them, and what
    /// follows, until there is no [`next`](Self::next).
    pub fn add(&self, answers: &[u8]) -> bool {
        let mut state = self.lock();
        if state.waiting.len() + answers.len() > MOST {
            return false;
        }
        state.waiting.extend_from_slice(answers);
        !std::mem::replace(&mut state.delivering, true)
    }

    /// What is to be delivered next.
    pub fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.delivering = !state.waiting.is_empty();
        state.delivering.then(|| std::mem::take(&mut state.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_delivers_in_order_and_what_is_too_much_is_dropped() {
        let answers = Answers::default();
        assert!(answers.add(b"one"));
        assert!(!answers.add(b"two"));
        assert_eq!(answers.next().unwrap(), b"onetwo");
        assert!(!answers.add(&[b'x'; MOST]));
        assert!(!answers.add(b"lost"));
        assert_eq!(answers.next().unwrap().len(), MOST);
        assert_eq!(answers.next(), None);
        assert!(answers.add(b"again"));
    }
}
