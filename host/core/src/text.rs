//! Text that a library gave, where a person reads it: in a log line, an error or a terminal.

/// Characters of a text that is quoted within a sentence.
const QUOTED: usize = 64;

/// Characters of a text that stands for itself, such as an error's.
const LINE: usize = 2000;

/// `text` on one line, without what a terminal would obey, and cut after [`LINE`] characters.
pub fn line(text: &str) -> String {
    cut(text, LINE)
}

/// As [`line`], cut after [`QUOTED`] characters, for use within a sentence.
pub fn quoted(text: &str) -> String {
    cut(text, QUOTED)
}

fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        match needs_escape(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// Control characters, and those that change the direction in which the rest is read (UAX #9).
fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{7f}ä€😀";
        assert_eq!(line(text), r"a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{7f}ä€😀");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted(&"ä".repeat(64)), "ä".repeat(64));
        assert_eq!(quoted(&"ä".repeat(65)), format!("{}…", "ä".repeat(64)));
        assert_eq!(line(&"a".repeat(1 << 20)).chars().count(), LINE + 1);
    }
}
