//! Who asked for what, and what came of it: requests that change something, those of somebody who wants
//! to be let in, and terminals. Of what they carry nothing is kept.

use std::sync::Arc;

use agentd_api::terminal::Mode;
use warp::http::header::AUTHORIZATION;
use warp::http::request::Parts;
use warp::http::{Method, StatusCode};

use crate::http::Response;

/// Where a service keeps it.
pub trait AuditTrail: Send + Sync {
    /// Takes one, and keeps nobody waiting.
    fn keep(&self, record: AuditRecord);
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The name of what let them in, and the id if it is a token with a scope. None of somebody who was not let in.
    pub who: Option<String>,
    /// From where.
    pub peer: String,
    /// Method and path; `{id}` stands for what it is about.
    pub request: String,
    /// What it is about: the id of an agent, or the name of a session.
    pub subject: Option<String>,
    /// Of a terminal that was opened.
    pub mode: Option<Mode>,
    /// None if they had left before there was an answer.
    pub status: Option<u16>,
    /// The id of the token or link that was made.
    pub made: Option<String>,
}

impl AuditRecord {
    /// Whether somebody was not let in, or what let them in does not allow it. Of these there may be any
    /// number.
    pub fn is_refused(&self) -> bool {
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        let is_refusal = |status| refusals.iter().any(|refusal| *refusal == status);
        self.who.is_none() || self.status.is_some_and(is_refusal)
    }
}

/// What an answer says of itself, which its request did not.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// What let them in.
    pub who: Option<String>,
    /// What it was about, such as an agent that was made.
    pub subject: Option<String>,
    /// Of a terminal that was opened.
    pub mode: Option<Mode>,
    /// The id of the token or link that was made.
    pub made: Option<String>,
}

/// A request that is being answered. It is on record when this is dropped, also when its client has left.
pub struct Asked {
    trail: Option<Arc<dyn AuditTrail>>,
    record: AuditRecord,
    is_of_interest: bool,
}

/// The first segments of paths at which something can be asked for that is of interest.
const PLACES: [&str; 5] = ["agents", "sessions", "tokens", "login", "logout"];

/// Longer ones are not of an agent or a session.
const LONGEST_ID: usize = 64;

/// Longer ones are neither a part of a route nor the id of a token: they may be a secret.
const LONGEST_PART: usize = 16;

/// Others, which may be of any length, are not shown.
static METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// A method by its name; those that are not of HTTP share the name `?`.
pub fn known_method(method: &Method) -> &'static str {
    let known = METHODS.iter().find(|known| *known == method);
    known.map_or("?", Method::as_str)
}

impl Asked {
    /// Somebody who was let in by `who` asks for something. None if that is nothing of interest.
    pub fn new(
        trail: Option<&Arc<dyn AuditTrail>>,
        request: &Parts,
        peer: String,
        who: Option<String>,
    ) -> Option<Self> {
        let path = request.uri.path();
        let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
        let tries = who.is_none() && request.headers.contains_key(AUTHORIZATION);
        if !changes && !tries && !path.ends_with("/terminal") {
            return None;
        }
        let (shape, subject) = shape(path)?;
        let method = known_method(&request.method);
        Some(Asked {
            trail: trail.cloned(),
            record: AuditRecord {
                who,
                peer,
                request: format!("{method} {shape}"),
                subject,
                mode: None,
                status: None,
                made: None,
            },
            is_of_interest: true,
        })
    }

    /// It has its answer, which is sent next.
    pub fn answered(mut self, answer: &mut Response) {
        let noted = answer.extensions_mut().remove::<Noted>();
        let noted = noted.unwrap_or_default();
        let record = &mut self.record;
        record.who = noted.who.or(record.who.take());
        record.subject = noted.subject.or(record.subject.take());
        record.mode = noted.mode;
        record.made = noted.made;
        record.status = Some(answer.status().as_u16());
        // Whoever asks too often could fill the trail with that.
        self.is_of_interest = answer.status() != StatusCode::TOO_MANY_REQUESTS;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_of_interest {
            return;
        }
        let AuditRecord {
            who,
            peer,
            request,
            subject,
            mode,
            status,
            made,
        } = &self.record;
        let mode = mode.map(Mode::as_str);
        tracing::info!(
            target: "audit",
            who,
            peer,
            request,
            subject,
            mode,
            status,
            made,
            "{}",
            if status.is_some() { "answered" } else { "left before the answer" }
        );
        if let Some(trail) = &self.trail {
            trail.keep(self.record.clone());
        }
    }
}

/// A path without what it is about, and that. None of a path at which there is nothing.
fn shape(path: &str) -> Option<(String, Option<String>)> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let place = segments.next().filter(|place| PLACES.contains(place))?;
    let (mut shape, mut subject) = (format!("/{place}"), None);
    let has_subject = ["agents", "sessions"].contains(&place);
    for (index, segment) in segments.take(4).enumerate() {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_subject = has_subject && index == 0 && !segment.is_empty();
        let longest = if is_subject { LONGEST_ID } else { LONGEST_PART };
        let is_id = segment.len() <= longest && segment.bytes().all(is_fit);
        let shown = if is_id { segment } else { "?" };
        shape.push('/');
        match is_subject {
            true => {
                shape.push_str("{id}");
                subject = Some(shown.to_owned());
            }
            false => shape.push_str(shown),
        }
    }
    Some((shape, subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_known_is_not_shown() {
        let asked = |method: &str| {
            let request = warp::http::Request::builder().method(method).uri("/login");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let asked = Asked::new(None, &parts, "127.0.0.1".to_owned(), None);
            asked.unwrap().record.request.clone()
        };
        assert_eq!(asked("PATCH"), "PATCH /login");
        for other in ["TRACE", "SECRET", &"X".repeat(10_000)] {
            assert_eq!(asked(other), "? /login");
        }
    }

    #[test]
    fn a_path_is_shown_without_what_it_is_about() {
        let shaped =
            |path| shape(path).map(|(shape, subject)| (shape, subject.unwrap_or_default()));
        let of = |shape: &str, subject: &str| Some((shape.to_owned(), subject.to_owned()));
        assert_eq!(shaped("/agents"), of("/agents", ""));
        assert_eq!(shaped("/agents/a-1"), of("/agents/{id}", "a-1"));
        assert_eq!(shaped("/sessions/x/input"), of("/sessions/{id}/input", "x"));
        assert_eq!(shaped("/agents/a/links/l"), of("/agents/{id}/links/l", "a"));
        assert_eq!(shaped("/tokens/t"), of("/tokens/t", ""));
        assert_eq!(shaped("/login/codes"), of("/login/codes", ""));
        assert_eq!(shaped("/agents/%0a"), of("/agents/{id}", "?"));
        let long = format!("/tokens/{}", "x".repeat(17));
        assert_eq!(shaped(&long), of("/tokens/?", ""));
        let long = format!("/agents/a/links/{}", "x".repeat(17));
        assert_eq!(shaped(&long), of("/agents/{id}/links/?", "a"));
        let id = format!("/tokens/{}", "0".repeat(16));
        assert_eq!(shaped(&id), of(&id, ""));
        assert_eq!(shaped("/secret"), None);
        assert_eq!(shaped("/"), None);
    }
}
