use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentd_api::{Scope, Whoami};
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Grant, Limit};
use crate::to_rfc3339;

/// What a request was let in with, and what it allows. It may be withdrawn while the answer still
/// goes on, unless it is the service's own token.
#[derive(Clone, Debug)]
pub struct Pass {
    name: Arc<str>,
    grant: Arc<Grant>,
    /// The id of a token that has a scope.
    token: Option<Arc<str>>,
    /// When that expires: milliseconds since 1970.
    expires_at: Option<i64>,
    /// Whichever comes first.
    ends: Vec<End>,
}

#[derive(Clone, Debug)]
struct End {
    /// The sender is dropped with what the pass is of.
    ended: watch::Receiver<()>,
    until: Option<Until>,
}

/// When a pass is over: by the clock that nobody sets, or by the time of day, which goes on while the
/// machine is suspended. Whichever comes first.
#[derive(Clone, Copy, Debug)]
struct Until {
    clock: Instant,
    day: SystemTime,
}

/// How long the time of day is not looked at.
const LOOK: Duration = Duration::from_secs(60);

impl Until {
    /// After so long. The end of time is none.
    fn after(lifetime: Duration, clock: Instant, day: SystemTime) -> Option<Self> {
        Some(Until {
            clock: clock.checked_add(lifetime)?,
            day: day.checked_add(lifetime)?,
        })
    }

    /// How long it is until then; nothing when it has come.
    fn left(self, clock: Instant, day: SystemTime) -> Duration {
        let left = self.clock.saturating_duration_since(clock);
        left.min(self.day.duration_since(day).unwrap_or_default())
    }

    fn left_now(self) -> Duration {
        self.left(Instant::now(), SystemTime::now())
    }
}

impl End {
    fn has_come(&self) -> bool {
        self.ended.has_changed().is_err()
            || self.until.is_some_and(|until| until.left_now().is_zero())
    }

    async fn comes(mut self) {
        let expiry = async {
            let Some(until) = self.until else {
                return std::future::pending().await;
            };
            loop {
                match until.left_now() {
                    Duration::ZERO => return,
                    left => sleep(left.min(LOOK)).await,
                }
            }
        };
        tokio::select! {
            // Nothing is ever sent.
            _ = self.ended.changed() => {}
            () = expiry => {}
        }
    }
}

impl Pass {
    /// Of somebody who may do everything; `name` says why.
    pub fn full(name: &str) -> Self {
        Pass {
            name: name.into(),
            grant: Arc::new(Grant::ALL),
            token: None,
            expires_at: None,
            ends: Vec::new(),
        }
    }

    /// Of a browser that is signed in for so long, at most until the other end of `ended` is
    /// dropped.
    pub fn of_sign_in(ended: watch::Receiver<()>, lifetime: Duration) -> Self {
        let mut pass = Pass::full("sign-in");
        pass.end_with(ended, Some(lifetime));
        pass
    }

    /// Of a token that has a scope.
    pub fn of_token(name: Arc<str>, id: &str, grant: Arc<Grant>) -> Self {
        Pass {
            name,
            grant,
            token: Some(id.into()),
            expires_at: None,
            ends: Vec::new(),
        }
    }

    /// It ends with what has the other end of `ended`.
    pub fn end_with(&mut self, ended: watch::Receiver<()>, lifetime: Option<Duration>) {
        let now = (Instant::now(), SystemTime::now());
        let until = lifetime.and_then(|lifetime| Until::after(lifetime, now.0, now.1));
        self.ends.push(End { ended, until });
    }

    /// It expires at this time, in milliseconds since 1970.
    pub fn shown_expiry(&mut self, at: Option<i64>) {
        self.expires_at = at;
    }

    /// The same that also ends when this one does.
    pub fn and_with(mut self, sign_in: &Pass) -> Self {
        self.ends.extend(sign_in.ends.iter().cloned());
        self
    }

    /// Who it is, for people: a token's name, or what kind of credentials there were.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same for the audit: a name may be another token's later, an id is not.
    pub fn who(&self) -> String {
        match &self.token {
            Some(id) => format!("{} ({id})", self.name),
            None => self.name.to_string(),
        }
    }

    /// What it allows.
    pub fn scope(&self) -> Scope {
        self.grant.scope
    }

    /// Which agents it reaches.
    pub fn limit(&self) -> &Limit {
        &self.grant.limit
    }

    /// Whether it allows everything.
    pub fn is_full(&self) -> bool {
        *self.grant == Grant::ALL
    }

    /// The id of the token with a scope that it is of.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether it can be withdrawn at all.
    pub fn may_end(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether it no longer counts.
    pub fn is_withdrawn(&self) -> bool {
        self.ends.iter().any(End::has_come)
    }

    /// Done when it no longer counts.
    pub async fn withdrawn(&self) {
        if self.ends.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.ends.iter().cloned();
        select_all(ends.map(|end| Box::pin(end.comes()))).await;
    }

    /// What its owner is shown.
    pub fn describe(&self) -> Whoami {
        Whoami {
            name: self.name.to_string(),
            scope: self.scope(),
            agent: self.limit().agent(),
            label: self.limit().label(),
            expires_at: self.expires_at.map(to_rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack: what is open with a token outlives it by as long as the machine was suspended. Then: it ends
    /// by the time of day.
    #[test]
    fn a_machine_that_was_suspended_lengthens_nothing() {
        let (clock, day) = (Instant::now(), SystemTime::now());
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let until = Until::after(minutes(60), clock, day).unwrap();
        assert_eq!(until.left(clock, day), minutes(60));
        assert_eq!(
            until.left(clock + minutes(1), day + minutes(1)),
            minutes(59)
        );
        assert!(until.left(clock + minutes(1), day + minutes(60)).is_zero());
        // Nor does somebody who sets the time back.
        assert!(until.left(clock + minutes(60), day - minutes(60)).is_zero());
    }
}
