//! Errors as `application/problem+json`: the one place where kinds become statuses.

use std::convert::Infallible;

use agentd_api::Problem;
use warp::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{Response, StatusCode};
use warp::reject::{
    InvalidQuery, LengthRequired, MethodNotAllowed, PayloadTooLarge, Reject, UnsupportedMediaType,
};
use warp::{Rejection, Reply};

use super::request_id::RequestId;
use crate::{Error, ErrorKind};

/// An error on its way through warp.
#[derive(Debug)]
pub struct Rejected(pub Error);

impl Reject for Rejected {}

/// The answer for `error`.
pub fn reply(error: &Error) -> super::Response {
    let status = status(error.kind);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(code = error.code, "{error}");
    }
    let problem = Problem {
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: error.message.clone(),
        code: error.code.to_owned(),
        hint: error.hint.clone(),
        request_id: RequestId::current().map(|id| id.as_str().to_owned()),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut reply = Response::new(body).into_response();
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, seconds.max(1).into());
    }
    if error.kind == ErrorKind::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

/// The answer to a request that no route took.
pub async fn recover(rejection: Rejection) -> Result<super::Response, Infallible> {
    Ok(reply(&error(&rejection)))
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error(rejection: &Rejection) -> Error {
    if let Some(Rejected(error)) = rejection.find() {
        return error.clone();
    }
    if let Some(error) = rejection.find::<warp::body::BodyDeserializeError>() {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let cause = cause.unwrap_or_else(|| error.to_string());
        return Error::invalid("invalid-body", without_value(cause));
    }
    if rejection.find::<UnsupportedMediaType>().is_some() {
        return Error::invalid("invalid-body", "the body is not declared as JSON")
            .hint("send it with `Content-Type: application/json`");
    }
    if rejection.find::<LengthRequired>().is_some() {
        return Error::invalid("invalid-body", "the request has no `Content-Length`");
    }
    if rejection.find::<PayloadTooLarge>().is_some() {
        return Error::new(ErrorKind::TooLarge, "too-large", "the body is too large")
            .hint(format!("a body may have {} bytes", super::LARGEST_BODY));
    }
    if rejection.find::<InvalidQuery>().is_some() {
        return Error::invalid("invalid-query", "the query cannot be read");
    }
    if rejection.find::<MethodNotAllowed>().is_some() {
        let message = "this path has no such method";
        return Error::new(ErrorKind::MethodNotAllowed, "method-not-allowed", message);
    }
    if rejection.is_not_found() {
        return Error::new(
            ErrorKind::NotFound,
            "not-found",
            "there is nothing at this path",
        );
    }
    tracing::debug!(?rejection, "a request that no route took");
    Error::invalid("invalid-request", "the request cannot be read")
}

/// What is wrong with a body, without the value in it that is: it may be a secret, and errors are kept.
/// The names of fields stay.
fn without_value(cause: String) -> String {
    let (open, close, kind) = if cause.contains(": string \"") {
        (": string \"", "\", expected ", ": a text")
    } else {
        (" `", "`, expected ", "")
    };
    let parts = cause.split_once(open);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.rsplit_once(close)?)));
    match parts {
        Some((before, (_, expected))) if before != "unknown field" => {
            format!("{before}{kind}, expected {expected}")
        }
        _ => cause,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_error_says_nothing_of_what_was_sent() {
        type Variables = BTreeMap<String, u8>;
        for body in [
            r#"{"A": "the secret"}"#,
            r#""the \", expected secret""#,
            r#"{"A": "the secret", "A": "#,
        ] {
            let cause = serde_json::from_str::<Variables>(body).unwrap_err();
            let said = without_value(cause.to_string());
            assert!(!said.contains("secret"), "{said}");
            assert!(said.contains("a text, expected"), "{said}");
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        enum Word {
            Known,
        }
        let numbers = ["1234567", "-1234567", "12345.67", "[1234567]"];
        let causes = numbers.map(|body| serde_json::from_str::<u8>(body).unwrap_err().to_string());
        let word = serde_json::from_str::<Word>(r#""1234567`, expected `Known`""#);
        for cause in causes.into_iter().chain([word.unwrap_err().to_string()]) {
            let said = without_value(cause);
            assert!(!said.contains("123"), "{said}");
            assert!(said.contains("expected"), "{said}");
        }
        let field = "unknown field `nmae`, expected `name`";
        assert_eq!(without_value(field.to_owned()), field);
        let cause = serde_json::from_str::<Variables>("[1]").unwrap_err();
        let said = without_value(cause.to_string());
        assert!(
            said.starts_with("invalid type: sequence, expected"),
            "{said}"
        );
    }
}
