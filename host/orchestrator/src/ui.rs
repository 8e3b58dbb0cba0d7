//! The web UI's files.

use agentd_host::http::Response;
use warp::filters::BoxedFilter;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use warp::http::{HeaderMap, StatusCode};
use warp::path::FullPath;
use warp::{Filter, Rejection, Reply};

const NOT_BUILT: &str = "The web UI is not in this build: install Node.js, run `cargo xtask \
                         build-ui`, and build the service again.\n";

/// GET / and the files that it loads
pub fn routes() -> BoxedFilter<(Response,)> {
    warp::get()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and_then(async |path: FullPath, headers: HeaderMap| file(path.as_str(), &headers))
        .boxed()
}

fn file(path: &str, headers: &HeaderMap) -> Result<Response, Rejection> {
    let Some(asset) = agentd_ui::asset(path) else {
        return match path == "/" && !agentd_ui::is_built() {
            true => Ok(warp::reply::with_status(NOT_BUILT, StatusCode::NOT_FOUND).into_response()),
            false => Err(warp::reject::not_found()),
        };
    };
    let known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|etag| etag.as_bytes() == asset.etag.as_bytes());
    let mut reply = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => asset.bytes.into_owned().into_response(),
    };
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, asset.cache_control),
        (CONTENT_SECURITY_POLICY, agentd_ui::CONTENT_SECURITY_POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        reply.headers_mut().insert(ETAG, etag);
    }
    Ok(reply)
}
