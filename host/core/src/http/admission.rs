use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use warp::http::HeaderMap;
use warp::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use warp::http::request::Parts;

use super::handshakes::Handshakes;
use super::rates::Rates;
use super::seats::{Seats, Who};
use crate::audit::AuditTrail;
use crate::daemon::Daemon;
use crate::doors::{Caller, Pass, Peer};
use crate::limits::Limits;
use crate::{Error, ErrorKind};

/// So many are answered at the same time that there is no room for them; others are only cut off.
const REFUSALS: usize = 64;

/// When one may come again for whom there was no room.
pub const COME_AGAIN: Duration = Duration::from_secs(5);

/// What the kernel leaves to connections of the descriptors that the service may have.
const SHARE_OF_DESCRIPTORS: u64 = 2;

/// Who may send requests when, whatever they are.
///
/// The service's own user and root on a Unix socket always may: they must be able to end what went
/// wrong. Over TCP nobody is known by more than an address. At a loopback address that is all users of
/// the machine, so there the right token counts however often somebody else sent a wrong one.
pub struct Admission {
    daemon: Arc<Daemon>,
    /// The connections.
    pub seats: Arc<Seats>,
    /// Of those who are answered that there is no room.
    pub refusals: Arc<Semaphore>,
    /// Who may use the service, and who may not, at each address.
    requests: Rates<(Who, bool)>,
    failures: Rates<Who>,
    handshakes: Handshakes,
    /// Where it is kept who asked for what.
    pub trail: Option<Arc<dyn AuditTrail>>,
}

/// A request that may be answered.
pub struct Admitted {
    /// What its credentials let in, or why they let nobody in.
    pub credentials: Result<Pass, Error>,
    /// Whether it is a sign-in, which counts if it fails.
    signs_in: bool,
}

impl Admission {
    /// To this service.
    pub fn new(daemon: Arc<Daemon>, trail: Option<Arc<dyn AuditTrail>>) -> Arc<Self> {
        let limits = &daemon.limits;
        let all = limits.max_connections.min(descriptors());
        Arc::new(Admission {
            seats: Seats::new(all, limits.max_connections_per_peer),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            requests: Rates::new(limits.max_requests_per_second, Duration::from_secs(1)),
            failures: Rates::new(limits.max_failed_sign_ins, Duration::from_secs(60)),
            handshakes: Handshakes::new(limits.max_tls_handshakes_per_second),
            daemon,
            trail,
        })
    }

    /// What everybody may have.
    pub fn limits(&self) -> &Limits {
        &self.daemon.limits
    }

    /// Waits until that one may have a connection of TLS: to make one takes thousands of times as much work as to
    /// ask for it. A proxy asks for many.
    pub async fn handshake(&self, who: Who, from: Option<IpAddr>) {
        if from.is_some_and(|from| self.daemon.doors.is_proxy(from)) {
            return;
        }
        self.handshakes.turn(who).await;
    }

    /// Who sends a request that came from there over TCP, and whether nobody else reads it.
    pub fn sender(
        &self,
        from: IpAddr,
        is_secure: bool,
        headers: &HeaderMap,
    ) -> Result<(IpAddr, bool), Error> {
        self.daemon.doors.sender(from, is_secure, headers)
    }

    /// Whether that one may send this now.
    pub fn admit(&self, who: Who, request: &Parts, caller: &Caller) -> Result<Admitted, Error> {
        let is_trusted = is_trusted(caller.peer);
        let credentials = self.daemon.doors.check_credentials(caller);
        let is_known = credentials.is_ok();
        let signs_in = !is_trusted && request.uri.path() == "/login";
        if !is_trusted {
            let now = Instant::now();
            self.requests.take((who, is_known), now).map_err(|wait| {
                Error::new(ErrorKind::TooMany, "too-many-requests", "too many requests")
                    .retry_after(wait)
            })?;
            let has_tried = request.headers.contains_key(AUTHORIZATION);
            let failed = match is_known {
                // One of many on this machine, or one who has guessed it.
                true if has_tried && !who.is_shared() => self.failures.wait(&who, now),
                false if has_tried || signs_in => self.failures.take(who, now),
                _ => Ok(()),
            };
            failed.map_err(|wait| {
                let message = "too many requests with wrong credentials";
                Error::new(ErrorKind::TooMany, "too-many-sign-ins", message)
                    .retry_after(wait)
                    .hint("the Unix socket of the service takes its own user at any time")
            })?;
        }
        // As one asks a proxy (RFC 9112, section 3.2.3); warp panics where there is no path.
        if request.uri.path_and_query().is_none() {
            let message = "the request names no path";
            return Err(Error::invalid("invalid-path", message));
        }
        let length = request.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limits().max_body_bytes) {
            return Err(self.too_large());
        }
        Ok(Admitted {
            credentials,
            signs_in: signs_in && !is_known,
        })
    }

    /// What came of it: a sign-in that succeeded was no failure.
    pub fn answered(&self, who: Who, admitted: &Admitted, is_success: bool) {
        if admitted.signs_in && is_success {
            self.failures.give_back(&who);
        }
    }

    /// A body is longer than it may be.
    pub fn too_large(&self) -> Error {
        let most = self.limits().max_body_bytes;
        Error::new(ErrorKind::TooLarge, "too-large", "the body is too large").hint(format!(
            "a body may have {most} bytes (AGENTD_MAX_BODY_BYTES)"
        ))
    }

    /// A body is nested deeper than it may be.
    pub fn too_deep(&self) -> Error {
        let most = self.limits().max_json_depth;
        Error::new(
            ErrorKind::TooLarge,
            "too-deep",
            "the body is nested too deep",
        )
        .hint(format!(
            "JSON may have {most} levels (AGENTD_MAX_JSON_DEPTH)"
        ))
    }
}

/// There is no room for a connection.
pub fn no_room() -> Error {
    Error::unavailable(
        "too-many-connections",
        "the service has too many connections",
    )
    .hint("come again later, or raise AGENTD_MAX_CONNECTIONS or AGENTD_MAX_CONNECTIONS_PER_PEER")
    .retry_after(COME_AGAIN)
}

/// Whether it is one who always may.
pub fn is_trusted(peer: Option<Peer>) -> bool {
    peer.is_some_and(|peer| peer.is_trusted)
}

/// How many connections there is room for among the files that this process may have open.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let share = limit.map_or(u64::MAX, |limit| limit / SHARE_OF_DESCRIPTORS);
    usize::try_from(share).unwrap_or(usize::MAX)
}
