/// Reads a span of time such as `90s`, `30m`, `1h` or `7d`, in seconds.
pub(crate) fn parse_span(word: &str) -> Result<u64, String> {
    let explain = || "it must look like `90s`, `30m`, `1h` or `7d`".to_owned();
    let unit = word.chars().last().ok_or_else(explain)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(explain()),
    };
    let count = word.strip_suffix(unit).unwrap_or_default();
    let count: u64 = count.parse().map_err(|_| explain())?;
    let span = count.checked_mul(seconds).filter(|span| *span > 0);
    span.ok_or_else(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (word, seconds) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(parse_span(word), Ok(seconds));
        }
        for word in [
            "",
            "h",
            "5",
            "0s",
            "-1h",
            "1.5h",
            "1 h",
            "1ä",
            "99999999999999999999d",
        ] {
            assert!(parse_span(word).is_err(), "{word}");
        }
        assert!(parse_span(&format!("{}d", u64::MAX)).is_err());
    }
}
