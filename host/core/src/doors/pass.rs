use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What a request was let in with. A browser's may be withdrawn while the answer still goes on.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    sign_in: Option<SignedIn>,
}

#[derive(Clone, Debug)]
struct SignedIn {
    /// The sender is dropped with the sign-in.
    ended: watch::Receiver<()>,
    until: Instant,
}

impl Pass {
    /// Of somebody who has the token.
    pub fn of_token() -> Self {
        Pass::default()
    }

    /// Of a browser that is signed in for so long, at most until the other end of `ended` is
    /// dropped.
    pub fn of_sign_in(ended: watch::Receiver<()>, lifetime: Duration) -> Self {
        let until = Instant::now() + lifetime;
        Pass {
            sign_in: Some(SignedIn { ended, until }),
        }
    }

    /// Whether it can be withdrawn at all.
    pub fn is_of_browser(&self) -> bool {
        self.sign_in.is_some()
    }

    /// Whether it no longer counts.
    pub fn is_withdrawn(&self) -> bool {
        self.sign_in
            .as_ref()
            .is_some_and(|SignedIn { ended, until }| {
                ended.has_changed().is_err() || *until <= Instant::now()
            })
    }

    /// Done when it no longer counts.
    pub async fn withdrawn(&self) {
        let Some(SignedIn { ended, until }) = self.sign_in.clone() else {
            return std::future::pending().await;
        };
        let mut ended = ended;
        tokio::select! {
            // Nothing is ever sent.
            _ = ended.changed() => {}
            () = sleep_until(until) => {}
        }
    }
}
