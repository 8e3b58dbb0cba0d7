use clap::ValueHint;

/// The hint at an argument that names what a service has, as the completions know it.
pub(crate) const NAMED: ValueHint = ValueHint::Username;

/// Takes a word that can name a session or an agent (or be an agent's id).
pub(crate) fn parse_name(word: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let begins_well = word.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && word.len() <= 63 && word.bytes().all(allowed) {
        Ok(word.to_owned())
    } else {
        Err(
            "a name has 1 to 63 letters, digits, `-` and `_`, and begins with a letter or digit"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_accepted() {
        for name in [
            "a",
            "9lives",
            "my_agent-2",
            "0d2b6f0e-8a3f-4b52-9a53-3c1c5f1f0d11",
        ] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn names_that_would_be_another_path_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "-x",
            "_x",
            "ä",
            "a\0",
            &"x".repeat(64),
        ] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }
}
