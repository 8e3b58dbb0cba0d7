use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentd_api::keyed_hash;
use warp::http::HeaderMap;
use warp::http::header::COOKIE;

use super::secret::Secret;
use super::sign_ins::{self, SignIns};
use super::{KEY_HEADER, Pass, Tokens};

/// How long a ticket opens a WebSocket.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// How long a one-time code signs a browser in.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// At most so many of each are valid; then the oldest is dropped.
const MOST: usize = 1000;

/// At most so many of them for one token with a scope.
const MOST_OF_TOKEN: usize = 50;

/// A browser sends no more cookies of this service than this, unless another program of its machine
/// makes them.
const MOST_COOKIES: usize = 64;

/// Browsers cannot keep a token from other pages of this machine: cookies ignore ports. So a
/// sign-in has two halves, a cookie and a key that stays in the page's own origin, and neither is
/// accepted without the other.
///
/// Another program of the machine that a browser visits gets all cookies, and may replace or remove
/// them: it can sign a browser out, and not in. The cookie's name depends on the key, so that none
/// is replaced by accident or by somebody who has not seen it.
#[derive(Debug)]
pub struct Browsers {
    /// What the name of each cookie begins with: the port, since a cookie's scope has none.
    prefix: String,
    sign_ins: SignIns,
    tokens: Arc<Tokens>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    codes: Vec<Expiring>,
    tickets: Vec<Expiring>,
}

#[derive(Debug)]
struct Expiring {
    secret: Secret,
    /// What it is good for.
    pass: Pass,
    until: Instant,
}

/// The two halves of a new sign-in.
#[derive(Debug)]
pub struct SignIn {
    /// The values of `Set-Cookie`.
    pub set_cookies: Vec<String>,
    /// For the page's own storage.
    pub key: Secret,
}

impl Browsers {
    /// Of a service on this port.
    pub fn new(port: u16, sign_ins: SignIns) -> Self {
        Browsers {
            prefix: format!("agentd_{port}_"),
            sign_ins,
            tokens: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// The tokens with a scope, by which browsers may have signed in.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Makes a one-time code for somebody with this pass, which dies with that.
    pub fn code(&self, pass: Pass) -> String {
        keep(&mut self.lock().codes, pass, CODE_LIFETIME)
    }

    /// Makes a single-use ticket for somebody with this pass, which dies with that.
    pub fn ticket(&self, pass: Pass) -> String {
        keep(&mut self.lock().tickets, pass, TICKET_LIFETIME)
    }

    /// What the code is good for, if it is valid; it no longer is.
    pub fn use_code(&self, code: &str) -> Option<Pass> {
        take(&mut self.lock().codes, code)
    }

    /// What the ticket is good for, if it is valid; it no longer is.
    pub fn use_ticket(&self, ticket: &str) -> Option<Pass> {
        take(&mut self.lock().tickets, ticket)
    }

    /// Signs in the browser that sends these headers, with the token of that id where it has a scope. By
    /// TLS its cookie goes nowhere without that.
    pub async fn sign_in(
        &self,
        headers: &HeaderMap,
        token: Option<&str>,
        is_secure: bool,
    ) -> SignIn {
        let (cookie, key) = (Secret::random(), Secret::random());
        self.sign_ins
            .add(cookie.reveal(), key.reveal(), token)
            .await;
        let lifetime = sign_ins::LIFETIME.as_secs();
        let name = self.cookie_name(key.reveal());
        let new = set_cookie(&name, cookie.reveal(), lifetime, is_secure);
        // What earlier sign-ins have left in the browser, which would pile up.
        let left = self
            .cookies(headers)
            .filter(|(_, value)| !self.sign_ins.has_cookie(value));
        let removed = left.map(|(name, _)| set_cookie(name, "", 0, is_secure));
        SignIn {
            set_cookies: removed.chain([new]).collect(),
            key,
        }
    }

    /// The pass of the browser that sends these headers.
    pub fn pass(&self, headers: &HeaderMap) -> Option<Pass> {
        let (cookies, key) = self.halves(headers)?;
        let mut passes = cookies
            .iter()
            .filter_map(|cookie| self.sign_ins.pass(cookie, key));
        let (sign_in, token) = passes.next()?;
        match token {
            None => Some(sign_in),
            Some(token) => Some(self.tokens.pass_of(&token)?.and_with(&sign_in)),
        }
    }

    /// Forgets the sign-in of the browser that sends these headers. The values of `Set-Cookie`.
    pub async fn sign_out(&self, headers: &HeaderMap, is_secure: bool) -> io::Result<Vec<String>> {
        let Some((cookies, key)) = self.halves(headers) else {
            return Ok(Vec::new());
        };
        for cookie in cookies {
            if self.sign_ins.pass(cookie, key).is_some() {
                self.sign_ins.remove(cookie, key).await?;
            }
        }
        Ok(vec![set_cookie(&self.cookie_name(key), "", 0, is_secure)])
    }

    /// Several cookies may have the one name, such as one for another path, which comes first.
    fn halves<'a>(&self, headers: &'a HeaderMap) -> Option<(Vec<&'a str>, &'a str)> {
        let key = headers.get(KEY_HEADER)?.to_str().ok()?;
        let wanted = self.cookie_name(key);
        let cookies = self.cookies(headers).filter(|(name, _)| *name == wanted);
        Some((cookies.map(|(_, value)| value).collect(), key))
    }

    /// The cookies of this service, with their names.
    fn cookies<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a str)> {
        headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| name.starts_with(&self.prefix))
            .take(MOST_COOKIES)
    }

    fn cookie_name(&self, key: &str) -> String {
        let mut name = keyed_hash("", "cookie-name", &[key]);
        name.truncate(16);
        format!("{}{name}", self.prefix)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_cookie(name: &str, value: &str, seconds: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

/// Keeps a new secret, whose text this is. Whoever has a token with a scope takes no more than a share of
/// the room.
fn keep(entries: &mut Vec<Expiring>, pass: Pass, lifetime: Duration) -> String {
    let now = Instant::now();
    entries.retain(|entry| entry.until > now && !entry.pass.is_withdrawn());
    if let Some(token) = pass.token() {
        let is_of_it = |entry: &Expiring| entry.pass.token() == Some(token);
        if entries.iter().filter(|entry| is_of_it(entry)).count() >= MOST_OF_TOKEN
            && let Some(oldest) = entries.iter().position(is_of_it)
        {
            entries.remove(oldest);
        }
    }
    if entries.len() >= MOST {
        let of_token = entries
            .iter()
            .position(|entry| entry.pass.token().is_some());
        entries.remove(of_token.unwrap_or_default());
    }
    let secret = Secret::random();
    let text = secret.reveal().to_owned();
    entries.push(Expiring {
        secret,
        pass,
        until: now + lifetime,
    });
    text
}

fn take(entries: &mut Vec<Expiring>, given: &str) -> Option<Pass> {
    let now = Instant::now();
    entries.retain(|entry| entry.until > now);
    let index = entries.iter().position(|entry| entry.secret.is(given))?;
    let pass = entries.remove(index).pass;
    (!pass.is_withdrawn()).then_some(pass)
}

#[cfg(test)]
mod tests {
    use super::super::Grant;
    use super::*;

    #[tokio::test]
    async fn codes_and_tickets_work_once() {
        let browsers = Browsers::new(17006, SignIns::open("", None));
        let pass = || Pass::full("admin token");
        let (code, ticket) = (browsers.code(pass()), browsers.ticket(pass()));
        assert!(browsers.use_ticket(&code).is_none() && browsers.use_code(&ticket).is_none());
        assert!(browsers.use_code(&code).is_some() && browsers.use_code(&code).is_none());
        assert!(browsers.use_ticket(&ticket).is_some() && browsers.use_ticket(&ticket).is_none());
    }

    #[tokio::test]
    async fn a_token_with_a_scope_takes_no_tickets_from_others() {
        let browsers = Browsers::new(17006, SignIns::open("", None));
        let of_admin = browsers.ticket(Pass::full("admin token"));
        let limited = Pass::of_token("demo".into(), "id", Arc::new(Grant::ALL));
        let first = browsers.ticket(limited.clone());
        for _ in 0..MOST + 10 {
            browsers.ticket(limited.clone());
        }
        assert!(browsers.use_ticket(&first).is_none());
        assert!(browsers.use_ticket(&of_admin).is_some());
    }

    fn headers(cookies: &str, key: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookies.parse().unwrap());
        headers.insert(KEY_HEADER, key.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn a_cookie_of_another_program_hides_none() {
        let browsers = Browsers::new(17006, SignIns::open("", None));
        let SignIn { set_cookies, key } = browsers.sign_in(&HeaderMap::new(), None, false).await;
        let own = set_cookies[0].split(';').next().unwrap();
        let name = own.split('=').next().unwrap();
        for cookies in [
            format!("{name}=planted; {own}"),
            format!("agentd_17006=planted; agentd_17006_0=planted; {own}"),
        ] {
            assert!(browsers.pass(&headers(&cookies, key.reveal())).is_some());
        }
        assert!(browsers.pass(&headers(own, "")).is_none());
        assert!(
            browsers
                .pass(&headers("agentd_17006_0=0", key.reveal()))
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_new_sign_in_removes_what_old_ones_have_left() {
        let browsers = Browsers::new(17006, SignIns::open("", None));
        let kept = browsers
            .sign_in(&HeaderMap::new(), None, true)
            .await
            .set_cookies
            .remove(0);
        assert!(kept.ends_with("; Secure"), "{kept}");
        let kept = kept.split(';').next().unwrap();
        let cookies = format!("{kept}; agentd_17006_0=old; agentd_17005_0=other; theme=dark");
        let sign_in = browsers.sign_in(&headers(&cookies, ""), None, false).await;
        assert_eq!(sign_in.set_cookies.len(), 2);
        let removed = &sign_in.set_cookies[0];
        assert!(removed.starts_with("agentd_17006_0=;") && removed.ends_with("Max-Age=0"));
    }
}
