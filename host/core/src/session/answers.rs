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
    /// What is being delivered, and the position up to which it answers.
    sending: Vec<u8>,
    sending_until: u64,
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

    /// What is to be delivered next; what was before is delivered.
    pub fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.delivering = !state.waiting.is_empty();
        state.sending = std::mem::take(&mut state.waiting);
        state.sending_until = state.position;
        state.delivering.then(|| state.sending.clone())
    }

    /// What was to be delivered is delivered: all questions before this position are answered.
    pub fn delivered(&self) -> u64 {
        let mut state = self.lock();
        state.sending.clear();
        state.sending_until
    }

    /// The position before which all questions are answered, but for these answers, which may not have
    /// been delivered yet.
    pub fn state(&self) -> (u64, Vec<u8>) {
        let state = self.lock();
        (
            state.position,
            [&state.sending[..], &state.waiting].concat(),
        )
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
        assert_eq!(answers.state(), (20, b"onetwo".to_vec()));
        assert_eq!(answers.next().unwrap(), b"onetwo");
        assert_eq!(answers.state(), (20, b"onetwo".to_vec()));
        assert_eq!(answers.delivered(), 20);
        assert_eq!(answers.state(), (20, Vec::new()));
        assert!(!answers.add(&[b'x'; MOST], 30));
        assert!(!answers.add(b"lost", 40));
        assert_eq!(answers.next().unwrap().len(), MOST);
        assert_eq!(answers.next(), None);
        assert!(answers.add(b"again", 50));
    }
}
