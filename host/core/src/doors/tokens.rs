use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_api::{Credential, ScopedToken};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::secret::Secret;
use super::{Grant, Limit, Pass};

/// The tokens with a scope that count now. A service that keeps them adds them here; one that does not
/// has none.
#[derive(Debug, Default)]
pub struct Tokens {
    entries: Mutex<HashMap<String, Entry>>,
    used: Notify,
}

/// A token without its secret.
#[derive(Clone, Debug)]
pub struct KnownToken {
    /// What finds it.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// [`ScopedToken::key`].
    pub key: String,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// Milliseconds since 1970.
    pub last_used_at: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    grant: Arc<Grant>,
    key: Secret,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    /// Whether the last use is not yet known to who keeps them.
    is_used: bool,
    /// Dropped with it, which its passes notice.
    ended: watch::Sender<()>,
}

impl Tokens {
    /// A new secret token, which counts once it was [added](Self::add).
    pub fn generate() -> ScopedToken {
        let (id, secret) = (Secret::random(), Secret::random());
        match ScopedToken::new(&id.reveal()[..16], secret.reveal()) {
            Some(token) => token,
            None => unreachable!("a secret is 64 hexadecimal digits"),
        }
    }

    /// This one counts from now on.
    pub fn add(&self, token: KnownToken) {
        let now = now();
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.counts(now));
        entries.insert(
            token.id,
            Entry {
                name: token.name.into(),
                grant: Arc::new(token.grant),
                key: Secret::from_text(token.key),
                expires_at: token.expires_at,
                last_used_at: token.last_used_at,
                is_used: false,
                ended: watch::Sender::default(),
            },
        );
    }

    /// This one no longer counts: what was let in with it ends.
    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The pass of somebody who has the token.
    pub fn pass(&self, token: &ScopedToken) -> Option<Pass> {
        let key = token.key();
        self.use_if(token.id(), |entry| entry.key.is(&key))
    }

    /// The pass of somebody who had the token when it was looked at first, such as for a sign-in.
    pub fn pass_of(&self, id: &str) -> Option<Pass> {
        self.use_if(id, |_| true)
    }

    /// The pass of somebody who answers a proof of this service at this address with the token.
    pub fn pass_by_proof(
        &self,
        credential: &Credential<'_>,
        service_nonce: &str,
        address: &str,
    ) -> Option<Pass> {
        let key = self.key(credential.id)?;
        let key = key.reveal();
        let token = ScopedToken::of_credential(credential, key, service_nonce, address)?;
        self.pass(&token)
    }

    /// What a proof for the owner of this one is made with.
    pub fn key(&self, id: &str) -> Option<Secret> {
        let entries = self.lock();
        let entry = entries.get(id).filter(|entry| entry.counts(now()));
        Some(entry?.key.clone())
    }

    /// When this one was used last, in milliseconds since 1970.
    pub fn last_used_at(&self, id: &str) -> Option<i64> {
        self.lock().get(id)?.last_used_at
    }

    /// Those for this agent alone let nobody in any more, as if they had expired now. What is open with them
    /// shows how the agent goes.
    pub fn remove_of(&self, agent: &str) {
        let now = now();
        for entry in self.lock().values_mut() {
            if matches!(&entry.grant.limit, Limit::Agent(only) if only == agent) {
                entry.expires_at = Some(now);
            }
        }
    }

    /// Waits until one was used, if none was since this was waited for last.
    pub async fn used(&self) {
        self.used.notified().await;
    }

    /// The ids of those that were used since the last call, and when.
    pub fn take_used(&self) -> Vec<(String, i64)> {
        let mut entries = self.lock();
        let used = entries.iter_mut().filter(|(_, entry)| entry.is_used);
        let used = used.filter_map(|(id, entry)| {
            entry.is_used = false;
            Some((id.clone(), entry.last_used_at?))
        });
        used.collect()
    }

    fn use_if(&self, id: &str, is_it: impl FnOnce(&Entry) -> bool) -> Option<Pass> {
        let now = now();
        let mut entries = self.lock();
        let entry = entries.get_mut(id).filter(|entry| entry.counts(now))?;
        if !is_it(entry) {
            return None;
        }
        entry.last_used_at = Some(now);
        if !std::mem::replace(&mut entry.is_used, true) {
            self.used.notify_one();
        }
        let mut pass = Pass::of_token(entry.name.clone(), id, entry.grant.clone());
        let left = entry.expires_at.map(|at| {
            let left = u64::try_from(at - now).unwrap_or_default();
            Duration::from_millis(left)
        });
        pass.end_with(entry.ended.subscribe(), left);
        pass.shown_expiry(entry.expires_at);
        Some(pass)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn counts(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use agentd_api::{Proof, Scope};

    use super::*;

    fn known(token: &ScopedToken, expires_at: Option<i64>) -> KnownToken {
        KnownToken {
            id: token.id().to_owned(),
            name: "demo".to_owned(),
            grant: Grant {
                scope: Scope::Read,
                limit: Limit::Agent("a".to_owned()),
            },
            key: token.key(),
            expires_at,
            last_used_at: None,
        }
    }

    #[tokio::test]
    async fn a_token_counts_until_it_is_removed() {
        let (tokens, token) = (Tokens::default(), Tokens::generate());
        assert!(tokens.pass(&token).is_none());
        tokens.add(known(&token, None));
        let other = Tokens::generate();
        let wrong = ScopedToken::new(token.id(), &other.reveal()[21..]).unwrap();
        assert!(tokens.pass(&wrong).is_none() && tokens.take_used().is_empty());
        let pass = tokens.pass(&token).unwrap();
        assert_eq!((pass.name(), pass.scope()), ("demo", Scope::Read));
        assert_eq!(pass.token(), Some(token.id()));
        assert!(!pass.is_full() && !pass.is_withdrawn() && pass.may_end());
        tokens.used().await;
        assert_eq!(tokens.take_used().len(), 1);
        assert!(tokens.take_used().is_empty());
        tokens.remove(token.id());
        pass.withdrawn().await;
        assert!(pass.is_withdrawn() && tokens.pass(&token).is_none());
        assert!(tokens.key(token.id()).is_none());
    }

    #[tokio::test]
    async fn a_token_counts_until_it_expires() {
        let (tokens, token) = (Tokens::default(), Tokens::generate());
        tokens.add(known(&token, Some(now())));
        assert!(tokens.pass(&token).is_none() && tokens.pass_of(token.id()).is_none());
        tokens.add(known(&token, Some(now() + 60_000)));
        let pass = tokens.pass(&token).unwrap();
        assert!(!pass.is_withdrawn() && pass.describe().expires_at.is_some());
        tokens.add(known(&token, Some(now() + 20)));
        if let Some(pass) = tokens.pass(&token) {
            pass.withdrawn().await;
        }
        assert!(tokens.pass(&token).is_none());
    }

    #[test]
    fn a_proof_is_answered_with_the_secret_and_not_with_what_is_kept() {
        let (tokens, token) = (Tokens::default(), Tokens::generate());
        tokens.add(known(&token, None));
        let key = tokens.key(token.id()).unwrap();
        let proof = Proof::new(key.reveal(), "nonce", "life", "here");
        let passes = |token: &ScopedToken, life: &str| {
            let text = token.credential(&proof, "nonce");
            let credential = Credential::parse(&text).unwrap();
            tokens.pass_by_proof(&credential, life, "here").is_some()
        };
        assert!(passes(&token, "life") && !passes(&token, "next"));
        let thief = ScopedToken::new(token.id(), key.reveal()).unwrap();
        assert!(!passes(&thief, "life"));
    }

    #[test]
    fn those_of_an_agent_go_with_it() {
        let (tokens, token) = (Tokens::default(), Tokens::generate());
        tokens.add(known(&token, None));
        tokens.remove_of("b");
        assert!(tokens.pass(&token).is_some());
        tokens.remove_of("a");
        assert!(tokens.pass(&token).is_none());
    }
}
