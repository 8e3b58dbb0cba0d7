use std::convert::Infallible;
use std::str::FromStr;

/// An entry of `AGENTD_BACKENDS`: `docker`, or `docker?` for one without which the service starts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedBackend {
    /// As it was written, and not checked. Empty where nothing was.
    pub name: String,
    /// Whether the service does without it, and tries again.
    pub is_optional: bool,
}

impl FromStr for WantedBackend {
    type Err = Infallible;

    fn from_str(entry: &str) -> Result<Self, Infallible> {
        let entry = entry.trim();
        let optional = entry.strip_suffix('?');
        Ok(WantedBackend {
            name: optional.unwrap_or(entry).trim_end().to_owned(),
            is_optional: optional.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_makes_a_backend_optional() {
        let parse = |entry: &str| {
            let Ok(wanted) = entry.parse::<WantedBackend>();
            (wanted.name, wanted.is_optional)
        };
        assert_eq!(parse("docker"), ("docker".to_owned(), false));
        assert_eq!(parse(" docker? "), ("docker".to_owned(), true));
        assert_eq!(parse(""), (String::new(), false));
        assert_eq!(parse("??"), ("?".to_owned(), true));
    }
}
