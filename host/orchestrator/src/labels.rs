use std::collections::BTreeMap;

use agentd_api::Labels;
use agentd_host::{Error, Result};

/// Labels of an agent, at most.
const MOST: usize = 32;

/// Characters of a value, at most.
const LONGEST_VALUE: usize = 256;

/// Characters of a key, at most.
const LONGEST_KEY: usize = 63;

/// Refuses labels that break a rule.
pub fn check(labels: &Labels) -> Result<()> {
    if labels.len() > MOST {
        return Err(invalid(format!("these are {} labels", labels.len()))
            .hint(format!("an agent has at most {MOST} labels")));
    }
    labels.iter().try_for_each(|(key, value)| {
        check_key(key)?;
        check_value(key, value)
    })
}

/// The labels after some were set and others, those without a value, removed.
pub fn edited(mut labels: Labels, changes: &BTreeMap<String, Option<String>>) -> Result<Labels> {
    for (key, value) in changes {
        match value {
            Some(value) => labels.insert(key.clone(), value.clone()),
            None => labels.remove(key),
        };
    }
    check(&labels)?;
    Ok(labels)
}

fn check_key(key: &str) -> Result<()> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let is_key = key.len() <= LONGEST_KEY
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.chars().all(inside);
    if is_key {
        return Ok(());
    }
    let shown: String = key.chars().take(LONGEST_KEY + 1).collect();
    let message = format!("`{}` is not a key of a label", shown.escape_debug());
    Err(invalid(message).hint(format!(
        "use letters, digits, `.`, `_`, `/` and `-`, beginning with a letter or digit, at most \
         {LONGEST_KEY}"
    )))
}

fn check_value(key: &str, value: &str) -> Result<()> {
    if value.chars().count() > LONGEST_VALUE {
        return Err(
            invalid(format!("the value of the label `{key}` is too long"))
                .hint(format!("a value has at most {LONGEST_VALUE} characters")),
        );
    }
    if value.contains(char::is_control) {
        return Err(invalid(format!(
            "the value of the label `{key}` has a control character in it"
        )));
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::invalid("invalid-labels", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(key: &str, value: &str) -> bool {
        check(&Labels::from([(key.to_owned(), value.to_owned())])).is_err()
    }

    #[test]
    fn keys_and_values_have_rules() {
        for key in ["a", "Team", "example.org/team_a-1", &"k".repeat(63)] {
            assert!(!is_refused(key, ""), "{key}");
        }
        for key in ["", "-a", ".a", "a=b", "a b", "ä", &"k".repeat(64)] {
            assert!(is_refused(key, ""), "{key}");
        }
        assert!(!is_refused("a", "any = text, ä"));
        assert!(!is_refused("a", &"ä".repeat(256)));
        assert!(is_refused("a", &"ä".repeat(257)));
        assert!(is_refused("a", "two\nlines"));
    }

    #[test]
    fn an_agent_has_a_bounded_number_of_them() {
        let many = (0..MOST).map(|n| (n.to_string(), String::new()));
        let labels = edited(many.collect(), &BTreeMap::new()).unwrap();
        let one_more = BTreeMap::from([("x".to_owned(), Some(String::new()))]);
        assert!(edited(labels.clone(), &one_more).is_err());
        let one_for_another = BTreeMap::from([
            ("x".to_owned(), Some(String::new())),
            ("0".to_owned(), None),
            ("not there".to_owned(), None),
        ]);
        assert_eq!(edited(labels, &one_for_another).unwrap().len(), MOST);
    }
}
