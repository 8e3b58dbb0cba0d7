//! Text that is typed for somebody.

/// What a bracketed paste is enclosed in, with the escape character and with its one-character
/// form.
const BRACKETS: [&str; 4] = ["\u{1b}[200~", "\u{1b}[201~", "\u{9b}200~", "\u{9b}201~"];

/// The text without anything that would end a paste early or act as a key: brackets of a paste,
/// also those that only appear once an inner one is removed, and control characters but tabs and
/// line ends. Every kind of line end becomes `\n`.
pub fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        kept.push(character);
        if let Some(bracket) = BRACKETS.iter().find(|bracket| kept.ends_with(**bracket)) {
            kept.truncate(kept.len() - bracket.len());
        }
    }
    kept.replace("\r\n", "\n").replace('\r', "\n").replace(
        |character: char| character.is_control() && !matches!(character, '\n' | '\t'),
        "",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paste_ends_in_a_prompt_are_removed() {
        for (text, cleaned) in [
            ("plain ü\tx", "plain ü\tx"),
            ("a\r\nb\rc\nd", "a\nb\nc\nd"),
            ("a\u{1b}[201~b", "ab"),
            ("a\u{1b}[20\u{1b}[201~1~b", "ab"),
            ("a\u{9b}201~b", "ab"),
            ("a\u{3}\u{4}\u{1b}[A\u{7f}b", "a[Ab"),
        ] {
            assert_eq!(clean(text), cleaned, "{text:?}");
        }
    }
}
