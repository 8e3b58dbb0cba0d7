/// The present time as RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// A time in milliseconds since 1970 as RFC 3339.
pub fn to_rfc3339(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// Milliseconds since 1970 of an RFC 3339 time; none if it is not one.
pub fn from_rfc3339(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_millisecond())
}
