use std::sync::Arc;
use std::time::Duration;

use agentd_api::{Scope, Whoami};
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

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
    until: Option<Instant>,
}

impl End {
    fn has_come(&self) -> bool {
        self.ended.has_changed().is_err() || self.until.is_some_and(|until| until <= Instant::now())
    }

    async fn comes(mut self) {
        let expiry = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
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
        let until = lifetime.map(|lifetime| Instant::now() + lifetime);
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
