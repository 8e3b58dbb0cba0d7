//! Who may send requests: each is checked here before a route gets it.

mod address;
mod browser;
mod secret;
mod token;

use warp::http::HeaderMap;
use warp::http::header::{AUTHORIZATION, COOKIE};

pub use address::Addresses;
pub use browser::{Browsers, SignIn, TICKET_LIFETIME};
pub use token::Token;

use crate::{Error, ErrorKind, Result};

/// The request header with the second half of a browser's sign-in.
pub const KEY_HEADER: &str = "agentd-key";

/// The doors of one service.
#[derive(Debug)]
pub struct Doors {
    addresses: Addresses,
    /// None only when authentication is switched off, which needs a loopback host.
    token: Option<Token>,
    browsers: Browsers,
}

impl Doors {
    /// Doors for a service that is reached on `port`.
    pub fn new(addresses: Addresses, token: Option<Token>, port: u16) -> Self {
        Doors {
            addresses,
            token,
            browsers: Browsers::new(port),
        }
    }

    /// Refuses a foreign `Host` (DNS rebinding) and a foreign `Origin` (pages of other sites).
    pub fn check_address(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<()> {
        self.addresses.check(headers, authority)
    }

    /// Wants the token, a browser's sign-in, or a ticket made from one of these. A `ticket` is used
    /// up by this.
    pub fn check_credentials(&self, headers: &HeaderMap, ticket: Option<&str>) -> Result<()> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        if bearer(headers).is_some_and(|given| token.is(given))
            || self.is_signed_in(headers)
            || ticket.is_some_and(|ticket| self.browsers.use_ticket(ticket))
        {
            return Ok(());
        }
        Err(unauthorized("the request carries no valid credentials"))
    }

    /// Signs a browser in with the token or a one-time code.
    pub fn sign_in(&self, token: Option<&str>, code: Option<&str>) -> Result<SignIn> {
        let by_token =
            token.is_some_and(|given| self.token.as_ref().is_none_or(|token| token.is(given)));
        if by_token || code.is_some_and(|code| self.browsers.use_code(code)) {
            return Ok(self.browsers.sign_in());
        }
        Err(unauthorized("the token or code is not valid"))
    }

    /// Forgets the browser that sends these headers.
    pub fn sign_out(&self, headers: &HeaderMap) {
        if let Some((cookie, _)) = self.halves(headers) {
            self.browsers.sign_out(cookie);
        }
    }

    /// A code that signs one browser in, once, soon.
    pub fn code(&self) -> String {
        self.browsers.code()
    }

    /// A ticket that opens one WebSocket, once, soon.
    pub fn ticket(&self) -> String {
        self.browsers.ticket()
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        self.halves(headers)
            .is_some_and(|(cookie, key)| self.browsers.is_signed_in(cookie, key))
    }

    fn halves<'a>(&self, headers: &'a HeaderMap) -> Option<(&'a str, &'a str)> {
        let key = headers.get(KEY_HEADER)?.to_str().ok()?;
        let cookies = headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let cookie = cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.browsers.cookie_name())?;
        Some((cookie.1, key))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn unauthorized(message: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, "unauthorized", message).hint(
        "send `Authorization: Bearer <token>`; the token is in the file `token` of the service's \
         state directory",
    )
}
