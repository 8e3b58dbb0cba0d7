//! Who may send requests: each is checked here before a route gets it.

mod address;
mod browser;
mod pass;
mod secret;
mod sign_ins;
mod token;

use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

pub use address::Addresses;
pub use browser::{Browsers, SignIn, TICKET_LIFETIME};
pub use pass::Pass;
pub use sign_ins::SignIns;
pub use token::Token;

use crate::{Error, ErrorKind, Result};

/// The request header with the second half of a browser's sign-in.
pub const KEY_HEADER: &str = "agentd-key";

/// Who is at the other end of a Unix socket. Behind a TCP connection may be anybody.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// It is root or the service's own user, which needs no token.
    pub is_trusted: bool,
}

/// What a request says of who sends it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its headers.
    pub headers: HeaderMap,
    /// None over TCP.
    pub peer: Option<Peer>,
}

/// The doors of one service.
#[derive(Debug)]
pub struct Doors {
    addresses: Addresses,
    /// None only when authentication is switched off, which needs a loopback host.
    token: Option<Token>,
    browsers: Browsers,
}

impl Doors {
    /// The doors of a service.
    pub fn new(addresses: Addresses, token: Option<Token>, browsers: Browsers) -> Self {
        Doors {
            addresses,
            token,
            browsers,
        }
    }

    /// Refuses a foreign `Host` (DNS rebinding) and a foreign `Origin` (pages of other sites).
    /// No name leads to a Unix socket, so there the first does not count.
    pub fn check_address(&self, caller: &Caller, authority: Option<&str>) -> Result<()> {
        if caller.peer.is_none() {
            self.addresses.check_host(&caller.headers, authority)?;
        }
        self.addresses.check_origin(&caller.headers)
    }

    /// Wants a trusted peer, the token, a browser's sign-in, or a ticket made from one of these. A
    /// `ticket` is used up by this.
    pub fn check_credentials(&self, caller: &Caller, ticket: Option<&str>) -> Result<Pass> {
        let Caller { headers, peer } = caller;
        if peer.is_some_and(|peer| peer.is_trusted) {
            return Ok(Pass::of_token());
        }
        let Some(token) = &self.token else {
            return Ok(Pass::of_token());
        };
        if bearer(headers).is_some_and(|given| token.is(given)) {
            return Ok(Pass::of_token());
        }
        self.browsers
            .pass(headers)
            .or_else(|| self.browsers.use_ticket(ticket?))
            .ok_or_else(|| unauthorized("the request carries no valid credentials"))
    }

    /// Signs the browser that sends these headers in with the token or a one-time code.
    pub async fn sign_in(
        &self,
        headers: &HeaderMap,
        token: Option<&str>,
        code: Option<&str>,
    ) -> Result<SignIn> {
        let by_token =
            token.is_some_and(|given| self.token.as_ref().is_none_or(|token| token.is(given)));
        if by_token || code.is_some_and(|code| self.browsers.use_code(code)) {
            return Ok(self.browsers.sign_in(headers).await);
        }
        Err(unauthorized("the token or code is not valid"))
    }

    /// Forgets the browser that sends these headers: what it has open ends, and its tickets open
    /// nothing. The values of `Set-Cookie`.
    pub async fn sign_out(&self, headers: &HeaderMap) -> Result<Vec<String>> {
        self.browsers.sign_out(headers).await.map_err(|error| {
            let message = format!("the sign-out is not on the disk: {error}");
            Error::new(ErrorKind::Unavailable, "not-saved", message)
                .hint("it holds until the service ends; sign out again when there is room")
        })
    }

    /// A code that signs one browser in, once, soon.
    pub fn code(&self) -> String {
        self.browsers.code()
    }

    /// A ticket that opens one WebSocket, once, soon.
    pub fn ticket(&self, pass: Pass) -> String {
        self.browsers.ticket(pass)
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
