/// `text` with its control characters made visible, so that it does nothing to the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// As [`visible`], for a text of several lines.
pub(crate) fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(visible("a\u{1b}[2J\nb\u{9b}ä"), r"a\u{1b}[2J\nb\u{9b}ä");
        assert_eq!(visible_lines("a\u{1b}\nb\r"), "a\\u{1b}\nb\\r");
    }
}
