use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::secret::Secret;

/// How long a ticket opens a WebSocket.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// How long a one-time code signs a browser in.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// How long a browser stays signed in.
const SIGN_IN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// At most so many of each are valid; then the oldest is dropped.
const MOST: usize = 1000;

/// Browsers cannot keep a token from other pages of this machine: cookies ignore ports. So a
/// sign-in has two halves, a cookie and a key that stays in the page's own origin, and neither is
/// accepted without the other.
#[derive(Debug)]
pub struct Browsers {
    cookie_name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    codes: Vec<Expiring<Secret>>,
    tickets: Vec<Expiring<Secret>>,
    signed_in: Vec<Expiring<(Secret, Secret)>>,
}

#[derive(Debug)]
struct Expiring<T> {
    value: T,
    until: Instant,
}

/// The two halves of a new sign-in.
#[derive(Debug)]
pub struct SignIn {
    /// The value of `Set-Cookie`.
    pub set_cookie: String,
    /// For the page's own storage.
    pub key: Secret,
}

impl Browsers {
    /// No browser is signed in.
    pub fn new(port: u16) -> Self {
        Browsers {
            cookie_name: format!("agentd_{port}"),
            state: Mutex::default(),
        }
    }

    /// The cookie's name has the port in it, since its scope has not.
    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// Makes a one-time code.
    pub fn code(&self) -> String {
        let code = Secret::random();
        let text = code.reveal().to_owned();
        keep(&mut self.lock().codes, code, CODE_LIFETIME);
        text
    }

    /// Makes a single-use ticket.
    pub fn ticket(&self) -> String {
        let ticket = Secret::random();
        let text = ticket.reveal().to_owned();
        keep(&mut self.lock().tickets, ticket, TICKET_LIFETIME);
        text
    }

    /// Whether the code was valid; it no longer is.
    pub fn use_code(&self, code: &str) -> bool {
        take(&mut self.lock().codes, code)
    }

    /// Whether the ticket was valid; it no longer is.
    pub fn use_ticket(&self, ticket: &str) -> bool {
        take(&mut self.lock().tickets, ticket)
    }

    /// Signs a browser in.
    pub fn sign_in(&self) -> SignIn {
        let (cookie, key) = (Secret::random(), Secret::random());
        let set_cookie = format!(
            "{}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}",
            self.cookie_name,
            cookie.reveal(),
            SIGN_IN_LIFETIME.as_secs()
        );
        keep(
            &mut self.lock().signed_in,
            (cookie, key.clone()),
            SIGN_IN_LIFETIME,
        );
        SignIn { set_cookie, key }
    }

    /// Whether the two halves belong together.
    pub fn is_signed_in(&self, cookie: &str, key: &str) -> bool {
        let now = Instant::now();
        let mut found = false;
        for Expiring { value, until } in &self.lock().signed_in {
            found |= *until > now && value.0.is(cookie) & value.1.is(key);
        }
        found
    }

    /// Forgets a sign-in.
    pub fn sign_out(&self, cookie: &str) {
        self.lock()
            .signed_in
            .retain(|entry| !entry.value.0.is(cookie));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<T>(entries: &mut Vec<Expiring<T>>, value: T, lifetime: Duration) {
    let now = Instant::now();
    entries.retain(|entry| entry.until > now);
    if entries.len() >= MOST {
        entries.remove(0);
    }
    entries.push(Expiring {
        value,
        until: now + lifetime,
    });
}

fn take(entries: &mut Vec<Expiring<Secret>>, given: &str) -> bool {
    let now = Instant::now();
    entries.retain(|entry| entry.until > now);
    match entries.iter().position(|entry| entry.value.is(given)) {
        Some(index) => {
            entries.remove(index);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_tickets_work_once() {
        let browsers = Browsers::new(17006);
        let (code, ticket) = (browsers.code(), browsers.ticket());
        assert!(!browsers.use_ticket(&code) && !browsers.use_code(&ticket));
        assert!(browsers.use_code(&code) && !browsers.use_code(&code));
        assert!(browsers.use_ticket(&ticket) && !browsers.use_ticket(&ticket));
    }

    #[test]
    fn both_halves_are_needed() {
        let browsers = Browsers::new(17006);
        let (first, second) = (browsers.sign_in(), browsers.sign_in());
        let cookie = |sign_in: &SignIn| {
            let pair = sign_in.set_cookie.split(';').next().unwrap();
            pair.strip_prefix("agentd_17006=").unwrap().to_owned()
        };
        assert!(browsers.is_signed_in(&cookie(&first), first.key.reveal()));
        assert!(!browsers.is_signed_in(&cookie(&first), second.key.reveal()));
        assert!(!browsers.is_signed_in(&cookie(&first), ""));
        browsers.sign_out(&cookie(&first));
        assert!(!browsers.is_signed_in(&cookie(&first), first.key.reveal()));
    }
}
