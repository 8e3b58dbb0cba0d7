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
    /// The position up to which the program's questions are answered by them.
    position: u64,
    delivering: bool,
}

impl Answers {
    /// Adds answers to all questions before `position`, whole or not at all. True for the caller that
    /// has to deliver them, and what follows, until there is no [`next`](Self::next).
    pub fn add(&self, answers: &[u8], position: u64) -> bool {
        let mut state = self.lock();
        state.position = position;
        if state.waiting.len() + answers.len() > MOST {
            return false;
        }
        state.waiting.extend_from_slice(answers);
        !std::mem::replace(&mut state.delivering, true)
    }

    /// What is to be delivered next, and the position of the questions that it answers.
    pub fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut state = self.lock();
        state.delivering = !state.waiting.is_empty();
        let position = state.position;
        state
            .delivering
            .then(|| (std::mem::take(&mut state.waiting), position))
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
        assert!(answers.add(b"one", 10));
        assert!(!answers.add(b"two", 20));
        assert_eq!(answers.next().unwrap(), (b"onetwo".to_vec(), 20));
        assert!(!answers.add(&[b'x'; MOST], 30));
        assert!(!answers.add(b"lost", 40));
        assert_eq!(answers.next().unwrap().0.len(), MOST);
        assert_eq!(answers.next(), None);
        assert!(answers.add(b"again", 50));
    }
}
