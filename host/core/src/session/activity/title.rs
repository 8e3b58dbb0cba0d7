/// Characters of a title, at most.
const LONGEST: usize = 200;

/// A window's title as a person wants to read it: without what spins in it, or marks a state, at its
/// beginning and end. None where nothing is left.
pub fn shown(title: &str) -> Option<String> {
    let plain: String = title.chars().filter(|c| !c.is_control()).collect();
    let mut rest = plain.trim();
    loop {
        let stripped = without_ornament(rest);
        if stripped.len() == rest.len() {
            break;
        }
        rest = stripped;
    }
    let shown: String = rest.chars().take(LONGEST).collect();
    (!shown.is_empty()).then_some(shown)
}

fn without_ornament(title: &str) -> &str {
    let trimmed = title.trim_matches(|c: char| c.is_whitespace() || is_ornament(c));
    // What is also punctuation spins only where it stands alone.
    match trimmed.split_once(' ') {
        Some(("|" | "/" | "-" | "\\" | "*" | "+" | "x" | "." | "..." | "…", rest)) => {
            rest.trim_start()
        }
        _ => trimmed,
    }
}

/// Symbols, pictures and what holds them together; no letters, digits or punctuation.
fn is_ornament(c: char) -> bool {
    matches!(c,
        '·' | '•' | '∙' | '●' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}'
        | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}'
        | '\u{2500}'..='\u{28ff}'
        | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spins_is_not_part_of_a_title() {
        for (title, expected) in [
            ("⠂ Fix the tests", Some("Fix the tests")),
            ("✳ Claude Code", Some("Claude Code")),
            ("◇  Ready (project)", Some("Ready (project)")),
            (
                "✋  Action Required (project)",
                Some("Action Required (project)"),
            ),
            ("| building", Some("building")),
            ("⏳ ⣾ both ●", Some("both")),
            ("~/src: vim", Some("~/src: vim")),
            ("-bash", Some("-bash")),
            ("日本 #1 (a|b)", Some("日本 #1 (a|b)")),
            ("a\u{7}\u{1b}b", Some("ab")),
            ("⠋", None),
            ("", None),
        ] {
            assert_eq!(shown(title).as_deref(), expected, "{title}");
        }
        assert_eq!(
            shown(&"x".repeat(999)).map(|title| title.len()),
            Some(LONGEST)
        );
    }
}
