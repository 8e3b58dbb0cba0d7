use jiff::Timestamp;

/// How long ago an RFC 3339 time was, in its largest unit: `5m`.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return "?".to_owned();
    };
    in_its_largest_unit(now.duration_since(then).as_secs())
}

/// How long it is until an RFC 3339 time, in its largest unit.
pub(crate) fn until(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return "?".to_owned();
    };
    in_its_largest_unit(then.duration_since(now).as_secs())
}

fn in_its_largest_unit(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(time: &str, expected: &str) {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        assert_eq!(age(time, now), expected);
    }

    #[test]
    fn the_largest_unit_counts() {
        check("2026-11-23T11:59:58.9Z", "1s");
        check("2026-11-23T11:01:00Z", "59m");
        check("2026-11-23T12:00:00+02:00", "2h");
        check("2026-11-01T12:00:00Z", "22d");
    }

    #[test]
    fn times_to_come_count_the_other_way() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        assert_eq!(until("2026-11-23T12:01:05Z", now), "1m");
        assert_eq!(until("2026-11-23T11:00:00Z", now), "0s");
        assert_eq!(until("soon", now), "?");
    }

    #[test]
    fn future_times_count_as_now_and_malformed_ones_as_unknown() {
        check("2026-11-23T12:00:05Z", "0s");
        check("yesterday", "?");
    }
}
