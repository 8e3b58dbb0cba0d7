//! Who may send requests: each is checked here before a route gets it.

mod address;
mod browser;
mod grant;
mod pass;
mod proxies;
mod secret;
mod sign_ins;
mod token;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use agentd_api::{Credential, NONCE_LENGTH, Proof, ScopedToken};
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

pub use address::Addresses;
pub use browser::{Browsers, SignIn, TICKET_LIFETIME};
pub use grant::{Grant, Limit};
pub use pass::Pass;
pub use proxies::Proxies;
pub use sign_ins::SignIns;
pub use token::Token;
pub use tokens::{KnownToken, Tokens};

use self::address::forbidden;
use self::secret::Secret;
use crate::config::Auth;
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
    /// This service's end of a TCP connection.
    pub local: Option<SocketAddr>,
    /// Whether nobody else reads what goes between the one who asks and the service, or its proxy.
    pub is_secure: bool,
}

/// The doors of one service.
#[derive(Debug)]
pub struct Doors {
    addresses: Addresses,
    /// None only when authentication is switched off, which needs a loopback host.
    token: Option<Token>,
    tokens: Arc<Tokens>,
    prover: Prover,
    browsers: Browsers,
    ways: Ways,
}

/// How requests may come over TCP.
#[derive(Debug, Default)]
pub struct Ways {
    /// Who is believed when they say for whom they ask.
    pub proxies: Proxies,
    /// Whether those of other machines come from a proxy or by TLS.
    pub needs_proxy: bool,
}

/// Shows clients that this service has the token.
#[derive(Debug)]
struct Prover {
    token: Token,
    /// Of this life of the service.
    nonce: Secret,
}

impl Doors {
    /// The doors of a service, with the token or without authentication.
    pub fn new(
        addresses: Addresses,
        ways: Ways,
        token: Token,
        auth: Auth,
        browsers: Browsers,
    ) -> Self {
        Doors {
            addresses,
            tokens: browsers.tokens().clone(),
            prover: Prover {
                token: token.clone(),
                nonce: Secret::random(),
            },
            token: (auth == Auth::Token).then_some(token),
            browsers,
            ways,
        }
    }

    /// The service's own token.
    pub fn own_token(&self) -> &Token {
        &self.prover.token
    }

    /// Who sends a request that came from there over TCP, and whether nobody else reads it: what a
    /// proxy says of it, if one is there that is believed.
    pub fn sender(
        &self,
        from: IpAddr,
        is_secure: bool,
        headers: &HeaderMap,
    ) -> Result<(IpAddr, bool)> {
        let Ways {
            proxies,
            needs_proxy,
        } = &self.ways;
        if proxies.has(from) {
            let forwarded = proxies.read(headers)?;
            let from = forwarded.from.unwrap_or(from);
            if *needs_proxy && forwarded.is_secure == Some(false) {
                let message = "this service is reached by TLS, and the proxy was asked without";
                return Err(Error::invalid("tls-required", message).hint(
                    "ask with `https://`; let the proxy send those there who ask with `http://`",
                ));
            }
            return Ok((from, forwarded.is_secure.unwrap_or(is_secure)));
        }
        if *needs_proxy && !is_secure && !from.to_canonical().is_loopback() {
            let message = "this service is reached through a proxy, and this is another way";
            return Err(forbidden("proxy-required", message)
                .hint("ask at the proxy's address; its own is in AGENTD_TRUSTED_PROXIES"));
        }
        Ok((from, is_secure))
    }

    /// Whether a proxy that is believed is at that address.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.ways.proxies.has(address)
    }

    /// The tokens with a scope.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Answers whoever wants to know whether this service has its token, or knows theirs, of which they
    /// give the id, before they send anything.
    pub fn prove(&self, nonce: &str, id: Option<&str>, caller: &Caller) -> Result<Proof> {
        let local = caller.local.ok_or_else(|| {
            Error::conflict("no-address", "a Unix socket needs no proof")
                .hint("the kernel knows whose socket it is")
        })?;
        if !NONCE_LENGTH.contains(&nonce.len()) {
            let message = "the query's `nonce` is too short or too long";
            return Err(Error::invalid("invalid-query", message).hint(format!(
                "it has {} to {} bytes",
                NONCE_LENGTH.start(),
                NONCE_LENGTH.end()
            )));
        }
        match id {
            None => Ok(self.prover.prove(nonce, local)),
            Some(id) => {
                let unknown = || unauthorized("there is no such token, or no longer");
                let key = self.tokens.key(id).ok_or_else(unknown)?;
                Ok(self.prover.prove_with(key.reveal(), nonce, local))
            }
        }
    }

    /// Refuses a foreign `Host` (DNS rebinding) and a foreign `Origin` (pages of other sites).
    /// No name leads to a Unix socket, so there the first does not count.
    pub fn check_address(&self, caller: &Caller, authority: Option<&str>) -> Result<()> {
        if caller.peer.is_none() {
            self.addresses.check_host(&caller.headers, authority)?;
        }
        self.addresses
            .check_origin(&caller.headers, caller.is_secure)
    }

    /// Wants a trusted peer, the token, one with a scope, or a browser's sign-in. Whoever shows a token
    /// with a scope may do no more than that, also a trusted peer.
    pub fn check_credentials(&self, caller: &Caller) -> Result<Pass> {
        let Caller { headers, peer, .. } = caller;
        if let Some(pass) = self.scoped(caller) {
            return pass.ok_or_else(no_longer);
        }
        if peer.is_some_and(|peer| peer.is_trusted) {
            return Ok(Pass::full("unix peer"));
        }
        let Some(token) = &self.token else {
            return Ok(Pass::full("anybody"));
        };
        let has_token = authorization(headers, "bearer").is_some_and(|given| token.is(given));
        if has_token || self.prover.is_proven(caller) {
            return Ok(Pass::full("admin token"));
        }
        let unknown = || unauthorized("the request carries no valid credentials");
        self.browsers.pass(headers).ok_or_else(unknown)
    }

    /// The pass of somebody who shows a token with a scope, if that is valid; None where none is shown.
    fn scoped(&self, caller: &Caller) -> Option<Option<Pass>> {
        let bearer = authorization(&caller.headers, "bearer");
        if let Some(given) = bearer.filter(|given| ScopedToken::is_meant(given)) {
            let token = ScopedToken::parse(given);
            return Some(token.and_then(|token| self.tokens.pass(&token)));
        }
        let given = authorization(&caller.headers, "agentd");
        let given = given.filter(|given| ScopedToken::is_meant(given))?;
        let pass = || {
            let (credential, local) = (Credential::parse(given)?, caller.local?);
            let nonce = self.prover.nonce.reveal();
            self.tokens
                .pass_by_proof(&credential, nonce, &local.to_string())
        };
        Some(pass())
    }

    /// What the ticket is good for, if it is valid; it no longer is.
    pub fn use_ticket(&self, ticket: &str) -> Option<Pass> {
        self.browsers.use_ticket(ticket)
    }

    /// Signs the browser that sends this in with a token or a one-time code.
    pub async fn sign_in(
        &self,
        caller: &Caller,
        token: Option<&str>,
        code: Option<&str>,
    ) -> Result<(SignIn, Pass)> {
        let Caller {
            headers, is_secure, ..
        } = caller;
        let refused = || unauthorized("the token or code is not valid");
        let is_own = |given: &str| self.token.as_ref().is_none_or(|token| token.is(given));
        let pass = match token {
            Some(token) if ScopedToken::is_meant(token) => {
                let token = ScopedToken::parse(token).ok_or_else(refused)?;
                self.tokens.pass(&token)
            }
            Some(token) if is_own(token) => Some(Pass::full("admin token")),
            _ => code.and_then(|code| self.browsers.use_code(code)),
        };
        let pass = pass.ok_or_else(refused)?;
        let signed_in = self.browsers.sign_in(headers, pass.token(), *is_secure);
        Ok((signed_in.await, pass))
    }

    /// Forgets the browser that sends this: what it has open ends, and its tickets open nothing. The
    /// values of `Set-Cookie`.
    pub async fn sign_out(&self, caller: &Caller) -> Result<Vec<String>> {
        let Caller {
            headers, is_secure, ..
        } = caller;
        let signed_out = self.browsers.sign_out(headers, *is_secure).await;
        signed_out.map_err(|error| {
            let message = format!("the sign-out is not on the disk: {error}");
            Error::new(ErrorKind::Unavailable, "not-saved", message)
                .hint("it holds until the service ends; sign out again when there is room")
        })
    }

    /// A code that signs one browser in, once, soon, for no more than this pass allows.
    pub fn code(&self, pass: Pass) -> String {
        self.browsers.code(pass)
    }

    /// A ticket that opens one WebSocket, once, soon.
    pub fn ticket(&self, pass: Pass) -> String {
        self.browsers.ticket(pass)
    }
}

impl Prover {
    fn prove(&self, nonce: &str, local: SocketAddr) -> Proof {
        self.prove_with(self.token.reveal(), nonce, local)
    }

    fn prove_with(&self, key: &str, nonce: &str, local: SocketAddr) -> Proof {
        Proof::new(key, nonce, self.nonce.reveal(), &local.to_string())
    }

    /// Whether the caller has answered a proof of this service at this address.
    fn is_proven(&self, caller: &Caller) -> bool {
        let proven = || {
            let given = authorization(&caller.headers, "agentd")?;
            let (nonce, _) = given.split_once('.')?;
            let proof = self.prove(nonce, caller.local?);
            let wanted = Secret::from_text(proof.credential(self.token.reveal(), nonce));
            Some(wanted.is(given))
        };
        proven().unwrap_or(false)
    }
}

/// What follows the name of a scheme.
fn authorization<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let (scheme, given) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then_some(given.trim())
}

/// What let somebody in does not, or no longer.
pub fn no_longer() -> Error {
    unauthorized("the token is not valid, or no longer")
}

fn unauthorized(message: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, "unauthorized", message).hint(
        "send `Authorization: Bearer <token>`; the token is in the file `token` of the service's \
         state directory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack: another machine goes around the proxy that does TLS, or asks the proxy without TLS. Then: 403
    /// or 400.
    #[test]
    fn a_service_behind_a_proxy_takes_nothing_else_from_other_machines() {
        let token = Token::parse("a-secret-that-is-long").unwrap();
        let ways = Ways {
            proxies: Proxies::parse(&["192.0.2.1".to_owned()]).unwrap(),
            needs_proxy: true,
        };
        let addresses = Addresses::new(17006, &[], &[]);
        let browsers = Browsers::new(17006, SignIns::open("", None));
        let doors = Doors::new(addresses, ways, token, Auth::Token, browsers);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let sender = |from: &str, is_secure| {
            let sender = doors.sender(from.parse().unwrap(), is_secure, &headers);
            sender.map(|(from, is_secure)| (from.to_string(), is_secure))
        };
        let believed = ("198.51.100.1".to_owned(), true);
        assert_eq!(sender("192.0.2.1", false).unwrap(), believed);
        assert_eq!(sender("::ffff:192.0.2.1", false).unwrap(), believed);
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(sender(own, false).unwrap(), (own.to_owned(), false));
        }
        let by_tls = ("192.0.2.2".to_owned(), true);
        assert_eq!(sender("192.0.2.2", true).unwrap(), by_tls);
        assert_eq!(
            sender("192.0.2.2", false).unwrap_err().code,
            "proxy-required"
        );
        headers.insert("x-forwarded-proto", "http".parse().unwrap());
        let plain = doors.sender("192.0.2.1".parse().unwrap(), false, &headers);
        assert_eq!(plain.unwrap_err().code, "tls-required");
        // One that does not say by what it was asked is believed to do TLS.
        headers.remove("x-forwarded-proto");
        let plain = doors.sender("192.0.2.1".parse().unwrap(), false, &headers);
        assert!(plain.is_ok());
    }
}
