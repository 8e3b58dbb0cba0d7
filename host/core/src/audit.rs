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
    /// The name of what let them in. None of somebody who was not let in.
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
}

/// What an answer says of itself, which its request did not.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// What let them in.
    pub who: Option<String>,
    /// What was made.
    pub subject: Option<String>,
    /// Of a terminal that was opened.
    pub mode: Option<Mode>,
}

/// A request that is being answered. It is on record when this is dropped, also when its client has left.
pub struct Asked {
    trail: Option<Arc<dyn AuditTrail>>,
    record: AuditRecord,
    is_of_interest: bool,
}

/// The first segments of paths at which something can be asked for that is of interest.
const PLACES: [&str; 5] = ["agents", "sessions", "tokens", "login", "logout"];

/// Longer ones are no ids.
const LONGEST_ID: usize = 64;

impl Asked {
    /// Somebody who was let in by `who` asks for something. None if that is nothing of interest.
    pub fn new(
        trail: Option<&Arc<dyn AuditTrail>>,
        request: &Parts,
        peer: String,
        who: Option<&str>,
    ) -> Option<Self> {
        let path = request.uri.path();
        let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
        let tries = who.is_none() && request.headers.contains_key(AUTHORIZATION);
        if !changes && !tries && !path.ends_with("/terminal") {
            return None;
        }
        let (shape, subject) = shape(path)?;
        Some(Asked {
            trail: trail.cloned(),
            record: AuditRecord {
                who: who.map(str::to_owned),
                peer,
                request: format!("{} {shape}", request.method),
                subject,
                mode: None,
                status: None,
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
        } = &self.record;
        let mode = mode.map(|mode| match mode {
            Mode::Rw => "rw",
            Mode::Ro => "ro",
        });
        tracing::info!(
            target: "audit",
            who,
            peer,
            request,
            subject,
            mode,
            status,
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
        let is_id = segment.len() <= LONGEST_ID && segment.bytes().all(is_fit);
        let shown = if is_id { segment } else { "?" };
        shape.push('/');
        match has_subject && index == 0 && !segment.is_empty() {
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
        let long = format!("/tokens/{}", "x".repeat(65));
        assert_eq!(shaped(&long), of("/tokens/?", ""));
        assert_eq!(shaped("/secret"), None);
        assert_eq!(shaped("/"), None);
    }
}
