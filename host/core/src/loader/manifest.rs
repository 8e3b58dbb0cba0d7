//! What a library may say of itself: it is shown to users, in answers and in the log.

use std::collections::HashSet;

use agentd_plugin_api::{Capability, Manifest};

use crate::text::quoted;

/// The rule for capabilities, as it is shown to users.
const CAPABILITY_RULE: &str = "[a-z][a-z0-9-]{0,31}";

/// Capabilities, at most.
const MAX_CAPABILITIES: usize = 64;

/// Characters of a version, at most.
const MAX_VERSION: usize = 64;

/// Bytes of the schema of the options, as JSON, at most.
const MAX_SCHEMA: usize = 256 * 1024;

/// What is wrong with a manifest; the name is compared elsewhere.
pub fn check(manifest: &Manifest) -> Result<(), String> {
    check_version(&manifest.version)?;
    check_capabilities(&manifest.capabilities)?;
    if let Some(schema) = &manifest.options_schema {
        let is_small = schema.to_string().len() <= MAX_SCHEMA;
        if !schema.is_object() || !is_small {
            return Err(format!(
                "its options schema is not a JSON object of at most {MAX_SCHEMA} bytes"
            ));
        }
    }
    match &manifest.shell {
        Some(argv) if argv.iter().any(|word| word.contains('\0')) => {
            Err("its shell has a NUL in it".to_owned())
        }
        Some(argv) if argv.first().is_none_or(String::is_empty) => {
            Err("its shell has no program".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_version(version: &str) -> Result<(), String> {
    if version.len() <= MAX_VERSION && semver::Version::parse(version).is_ok() {
        return Ok(());
    }
    Err(format!(
        "its version `{}` is not a semantic version such as `1.2.3`, of at most {MAX_VERSION} \
         characters",
        quoted(version)
    ))
}

fn check_capabilities(capabilities: &[Capability]) -> Result<(), String> {
    if capabilities.len() > MAX_CAPABILITIES {
        let count = capabilities.len();
        return Err(format!(
            "it declares {count} capabilities, and {MAX_CAPABILITIES} are allowed"
        ));
    }
    let mut seen = HashSet::new();
    for capability in capabilities {
        let word = capability.as_str();
        if !is_capability(word) {
            return Err(format!(
                "its capability `{}` does not have the form {CAPABILITY_RULE}",
                quoted(word)
            ));
        }
        if !seen.insert(word) {
            return Err(format!("it declares the capability `{word}` twice"));
        }
    }
    Ok(())
}

fn is_capability(word: &str) -> bool {
    word.len() <= 32
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whatever JSON a library gives, it is taken or refused with a sentence that can be shown.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn any_json(json: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(json) else {
        return;
    };
    match check(&manifest) {
        Err(reason) => {
            assert!(!reason.contains(char::is_control), "{reason:?}");
            assert!(reason.len() < 400, "{reason}");
        }
        Ok(()) => {
            let shown = [&manifest.version].into_iter();
            let words = manifest.capabilities.iter().map(Capability::as_str);
            for text in shown.map(String::as_str).chain(words) {
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            let again = serde_json::to_vec(&manifest)
                .and_then(|json| serde_json::from_slice::<Manifest>(&json));
            assert!(again.is_ok_and(|again| again == manifest), "{manifest:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_version(version: &str) -> Result<(), String> {
        check(&Manifest::new("a", version))
    }

    fn with_capabilities<W: Into<String>>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<(), String> {
        let capabilities = words.into_iter().map(|word| Capability::from(word.into()));
        check(&Manifest::new("a", "1.0.0").capabilities(capabilities))
    }

    #[track_caller]
    fn refused(checked: Result<(), String>, words: &str) {
        let reason = checked.unwrap_err();
        assert!(reason.contains(words), "{reason}");
        assert!(!reason.contains(char::is_control), "{reason}");
        assert!(reason.len() < 300, "{reason}");
    }

    #[test]
    fn versions_are_semantic_versions() {
        for version in ["0.1.0", "1.2.3-rc.1", "1.2.3+build.5"] {
            assert_eq!(with_version(version), Ok(()));
        }
        for version in ["", "1", "1.2", "v1.2.3", "1.2.3 ", "1.2.3\n\u{1b}[2J", "ä"] {
            refused(with_version(version), "is not a semantic version");
        }
        let long = format!("1.2.3+{}", "a".repeat(1 << 20));
        refused(with_version(&long), "1.2.3+aaaa");
        refused(with_version("1.2.3\n\u{1b}[2J"), r"`1.2.3\n\u{1b}[2J`");
    }

    #[test]
    fn capabilities_are_words() {
        let longest = "a".repeat(32);
        assert_eq!(with_capabilities(["logs", "a", "a-1", &longest]), Ok(()));
        let too_long = "a".repeat(33);
        let mega = "a".repeat(1 << 20);
        for word in [
            "",
            "A",
            "1a",
            "-a",
            "a b",
            "a,b",
            "a\u{1b}[2J",
            "a_b",
            "ä",
            &too_long,
            &mega,
        ] {
            refused(with_capabilities([word]), "does not have the form");
        }
    }

    #[test]
    fn capabilities_are_few_and_differ() {
        let numbered = |count| (0..count).map(|number| format!("a{number}"));
        assert_eq!(with_capabilities(numbered(64)), Ok(()));
        refused(with_capabilities(numbered(65)), "65 capabilities");
        refused(with_capabilities(numbered(100_000)), "100000 capabilities");
        refused(with_capabilities(["logs", "logs"]), "`logs` twice");
    }

    #[test]
    fn the_schema_is_an_object_and_the_shell_a_program() {
        let manifest = || Manifest::new("a", "1.0.0");
        assert_eq!(check(&manifest().options_schema(json!({}))), Ok(()));
        refused(check(&manifest().options_schema(json!("a"))), "schema");
        let large = json!({"title": "a".repeat(1 << 20)});
        refused(check(&manifest().options_schema(large)), "schema");
        assert_eq!(check(&manifest().shell(&["/bin/sh"])), Ok(()));
        refused(check(&manifest().shell(&[])), "no program");
        refused(check(&manifest().shell(&["sh", "a\0"])), "NUL");
    }
}
