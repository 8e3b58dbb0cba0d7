//! What a request needs of the pass that it comes with.

use agentd_api::Scope;
use warp::http::Method;

use crate::collection::Collection;
use crate::doors::{Limit, Pass};
use crate::{Error, ErrorKind, Result};

/// What a route needs. One that is not listed needs everything, so that none is open by oversight.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    method: &'static str,
    /// As in the route's doc comment.
    path: &'static str,
    scope: Scope,
    reach: Reach,
}

/// Whom a limit leaves a route.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Everybody: it answers what the limit leaves, or concerns its caller alone.
    Seen,
    /// Who reaches the one that the second segment of the path names.
    One,
    /// Nobody: it concerns others.
    All,
}

impl Need {
    /// For `method` and `path`.
    pub const fn new(method: &'static str, path: &'static str, scope: Scope, reach: Reach) -> Self {
        Need {
            method,
            path,
            scope,
            reach,
        }
    }

    fn is_of(&self, method: &Method, segments: &[&str], collection: &str) -> bool {
        let mut wanted = self.path.split('/').skip(1);
        let is_as_wanted = |segment: &&str| match wanted.next() {
            Some("{collection}") => *segment == collection,
            Some(wanted) if wanted.starts_with('{') => !segment.is_empty(),
            wanted => wanted == Some(*segment),
        };
        *method == self.method && segments.iter().all(is_as_wanted) && wanted.next().is_none()
    }
}

/// Those of the routes that both services have.
const SHARED: &[Need] = &[
    Need::new("GET", "/backend", Scope::Read, Reach::All),
    Need::new("GET", "/backends", Scope::Read, Reach::All),
    Need::new("GET", "/metrics", Scope::Read, Reach::All),
    Need::new("GET", "/whoami", Scope::Read, Reach::Seen),
    Need::new("POST", "/login/codes", Scope::Read, Reach::Seen),
    Need::new("POST", "/tickets", Scope::Read, Reach::Seen),
    Need::new("POST", "/logout", Scope::Read, Reach::Seen),
    Need::new("POST", "/{collection}", Scope::Admin, Reach::All),
    Need::new("GET", "/{collection}", Scope::Read, Reach::Seen),
    Need::new("GET", "/{collection}/{id}", Scope::Read, Reach::One),
    Need::new("DELETE", "/{collection}/{id}", Scope::Admin, Reach::One),
    Need::new("POST", "/{collection}/{id}/input", Scope::Write, Reach::One),
    Need::new("POST", "/{collection}/{id}/keys", Scope::Write, Reach::One),
    Need::new("GET", "/{collection}/{id}/logs", Scope::Read, Reach::One),
    Need::new("GET", "/{collection}/{id}/screen", Scope::Read, Reach::One),
    Need::new(
        "GET",
        "/{collection}/{id}/recording",
        Scope::Read,
        Reach::One,
    ),
    Need::new(
        "GET",
        "/{collection}/{id}/terminal",
        Scope::Read,
        Reach::One,
    ),
];

/// Those for which nobody needs a pass.
const OPEN: &[&str] = &["/health", "/livez", "/readyz", "/info", "/login", "/proof"];

/// The path of the route that a request is for, with names for its variable parts. What is none of the service's
/// routes has one name, so that there are only so many.
pub fn route<C: Collection>(method: &Method, path: &str) -> String {
    let open = path.strip_suffix('/').unwrap_or(path);
    if let Some(open) = OPEN.iter().find(|one| **one == open) {
        return (*open).to_owned();
    }
    let segments = segments(path);
    let mut needs = SHARED.iter().chain(C::NEEDS);
    let need = needs.find(|need| need.is_of(method, &segments, C::PATH));
    need.map_or_else(
        || "other".to_owned(),
        |need| need.path.replace("{collection}", C::PATH),
    )
}

/// Refuses a request that the pass does not allow. Of what a limit leaves out the answer does not say
/// whether it is there.
pub async fn check<C: Collection>(
    collection: &C,
    pass: &Pass,
    method: &Method,
    path: &str,
) -> Result<()> {
    if pass.is_full() {
        return Ok(());
    }
    let segments = segments(path);
    let mut needs = SHARED.iter().chain(C::NEEDS);
    let need = needs.find(|need| need.is_of(method, &segments, C::PATH));
    let (scope, reach) = need.map_or((Scope::Admin, Reach::All), |need| (need.scope, need.reach));
    if pass.scope() < scope {
        let (wanted, has) = (scope.as_str(), pass.scope().as_str());
        let message = format!("this needs the scope `{wanted}`, and the token has `{has}`");
        return Err(Error::new(ErrorKind::Forbidden, "scope", message)
            .hint("ask for a token that allows it (`agent token create`)"));
    }
    let is_within = match (reach, pass.limit()) {
        (Reach::Seen, _) | (_, Limit::None) => true,
        (Reach::All, _) => false,
        (Reach::One, limit) => match segments.get(1) {
            Some(id) => collection.is_within(limit, id).await?,
            None => false,
        },
    };
    match is_within {
        true => Ok(()),
        false => Err(beyond(pass.limit())),
    }
}

/// The one that a path under the collection is about.
pub fn id<C: Collection>(path: &str) -> Option<String> {
    match segments(path)[..] {
        [collection, id, ..] if collection == C::PATH => Some(id.to_owned()),
        _ => None,
    }
}

/// As the routes see them, which ignore one slash at the end.
fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path).split('/').collect()
}

fn beyond(limit: &Limit) -> Error {
    let reached = match limit {
        Limit::Label(key, value) => format!("the agents with the label `{key}={value}`"),
        _ => "one agent".to_owned(),
    };
    let message = format!("the token is for {reached} alone");
    Error::new(ErrorKind::Forbidden, "scope", message)
        .hint("ask for a token without that limit (`agent token create`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_of_its_route_alone() {
        let need = Need::new("GET", "/{collection}/{id}/logs", Scope::Read, Reach::One);
        let is_of = |method: Method, path: &str| need.is_of(&method, &segments(path), "agents");
        assert!(is_of(Method::GET, "/agents/7/logs"));
        assert!(is_of(Method::GET, "/agents/7/logs/"));
        for path in [
            "/agents/7",
            "/agents/7/logs/more",
            "/agents//logs",
            "/sessions/7/logs",
            "//agents/7/logs",
            "/agents/7/logs//",
            "",
        ] {
            assert!(!is_of(Method::GET, path), "{path}");
        }
        assert!(!is_of(Method::POST, "/agents/7/logs"));
    }
}
