use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentd_host::{IdempotencyKey, KeyedRequest, Result, Turns};

/// So many answers are kept at most; the oldest go first.
const MOST: usize = 1000;

/// An answer is kept so long.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The answers to requests with a key, as long as the service runs.
#[derive(Debug)]
pub struct Answers<A> {
    turns: Turns<IdempotencyKey>,
    /// Oldest first.
    kept: Mutex<VecDeque<Answered<A>>>,
}

#[derive(Debug)]
struct Answered<A> {
    request: KeyedRequest,
    at: Instant,
    answer: A,
}

impl<A> Default for Answers<A> {
    fn default() -> Self {
        Answers {
            turns: Turns::default(),
            kept: Mutex::default(),
        }
    }
}

impl<A: Clone> Answers<A> {
    /// Does what the request asks for, unless that was done before. What fails is done again.
    pub async fn once(
        &self,
        request: KeyedRequest,
        act: impl Future<Output = Result<A>>,
    ) -> Result<A> {
        let _turn = self.turns.take(&request.key).await;
        if let Some(answer) = self.answer(&request)? {
            return Ok(answer);
        }
        let answer = act.await?;
        self.keep(request, answer.clone(), Instant::now());
        Ok(answer)
    }

    fn answer(&self, request: &KeyedRequest) -> Result<Option<A>> {
        let kept = self.lock();
        let mut fresh = kept.iter().filter(|answered| answered.at.elapsed() < KEPT);
        match fresh.find(|answered| answered.request.key == request.key) {
            None => Ok(None),
            Some(known) if known.request.fingerprint == request.fingerprint => {
                Ok(Some(known.answer.clone()))
            }
            Some(_) => Err(KeyedRequest::reused()),
        }
    }

    fn keep(&self, request: KeyedRequest, answer: A, at: Instant) {
        let mut kept = self.lock();
        kept.retain(|answered| {
            at.duration_since(answered.at) < KEPT && answered.request.key != request.key
        });
        while kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(Answered {
            request,
            at,
            answer,
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Answered<A>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: usize, what: &str) -> KeyedRequest {
        let key = IdempotencyKey::parse(&key.to_string()).unwrap();
        KeyedRequest::new(key, what, &()).unwrap()
    }

    #[test]
    fn so_many_are_kept_and_the_oldest_go_first() {
        let answers = Answers::default();
        for key in 0..=MOST {
            answers.keep(request(key, "a"), key, Instant::now());
        }
        assert_eq!(answers.answer(&request(0, "a")).unwrap(), None);
        assert_eq!(answers.answer(&request(1, "a")).unwrap(), Some(1));
        assert_eq!(answers.answer(&request(MOST, "a")).unwrap(), Some(MOST));
        let another = answers.answer(&request(1, "b")).unwrap_err();
        assert_eq!(another.code, "key-reused");
    }

    #[test]
    fn they_are_kept_for_a_day() {
        let answers = Answers::default();
        answers.keep(request(1, "a"), 1, Instant::now());
        answers.keep(request(2, "a"), 2, Instant::now() + KEPT);
        assert_eq!(answers.lock().len(), 1);
    }
}
