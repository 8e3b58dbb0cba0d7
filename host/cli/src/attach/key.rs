/// A key that can be part of the detach sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A visible ASCII character.
    Plain(u8),
    /// Control with a lower-case letter or one of `@[\]^_`.
    Ctrl(u8),
}

/// What a piece of keyboard input means to the detach sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Key(Key),
    /// A key that was let go, or a modifier alone: neither goes on with a sequence nor breaks it.
    Nothing,
    /// Any other key.
    Other,
    PasteBegins,
}

/// One byte outside of escape sequences.
pub(super) fn of_byte(byte: u8) -> Meaning {
    match byte {
        b'!'..=b'~' => Meaning::Key(Key::Plain(byte)),
        0 => Meaning::Key(Key::Ctrl(b'@')),
        1..=26 => Meaning::Key(Key::Ctrl(byte | 0x60)),
        27..=31 => Meaning::Key(Key::Ctrl(byte | 0x40)),
        _ => Meaning::Other,
    }
}

/// A control sequence, from after its `ESC [` to its last byte. Programs can ask the terminal to
/// send keys in this form: <https://sw.kovidgoyal.net/kitty/keyboard-protocol/> and xterm's
/// modifyOtherKeys.
pub(super) fn of_control_sequence(body: &[u8]) -> Meaning {
    let (parameters, last) = match body {
        b"200~" => return Meaning::PasteBegins,
        [parameters @ .., last] => (parameters, *last),
        [] => return Meaning::Other,
    };
    let Ok(parameters) = str::from_utf8(parameters) else {
        return Meaning::Other;
    };
    let parameters: Vec<&str> = parameters.split(';').collect();
    match (last, parameters.as_slice()) {
        (b'u', [codes, rest @ ..]) => {
            let mut codes = codes.split(':').map(|code| code.parse().ok());
            let code = codes.next().flatten();
            let base_layout = codes.nth(1).flatten();
            let mut modifiers = rest.first().unwrap_or(&"").split(':');
            let held = modifiers.next().unwrap_or("");
            let event = modifiers.next().unwrap_or("1");
            of_code(code, base_layout, held, event)
        }
        (b'~', ["27", held, code]) => of_code(code.parse().ok(), None, held, "1"),
        // Arrows and the like, in the kitty form with the kind of event.
        (_, [.., modifiers]) if modifiers.ends_with(":3") => Meaning::Nothing,
        _ => Meaning::Other,
    }
}

/// `held`: one more than the bits of the modifiers. `event`: 1 pressed, 2 repeated, 3 released.
fn of_code(code: Option<u32>, base_layout: Option<u32>, held: &str, event: &str) -> Meaning {
    const CTRL: u32 = 4;
    const LOCKS: u32 = 64 | 128;
    let Some(code) = code else {
        return Meaning::Other;
    };
    if event == "3" || matches!(code, 57358..=57360 | 57441..=57454) {
        return Meaning::Nothing;
    }
    let held = held.parse().unwrap_or(1_u32).saturating_sub(1) & !LOCKS;
    let character = match (u8::try_from(code), base_layout.map(u8::try_from)) {
        (Ok(byte), _) if byte.is_ascii() => byte,
        (_, Some(Ok(byte))) if byte.is_ascii() => byte,
        _ => return Meaning::Other,
    };
    match (held, character) {
        (0, b'!'..=b'~') => Meaning::Key(Key::Plain(character)),
        (CTRL, b'a'..=b'z' | b'@' | b'['..=b'_') => Meaning::Key(Key::Ctrl(character)),
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sequence: &str, expected: Meaning) {
        assert_eq!(of_control_sequence(sequence.as_bytes()), expected);
    }

    #[test]
    fn control_characters_are_keys() {
        assert_eq!(of_byte(0x10), Meaning::Key(Key::Ctrl(b'p')));
        assert_eq!(of_byte(0x1c), Meaning::Key(Key::Ctrl(b'\\')));
        assert_eq!(of_byte(b'q'), Meaning::Key(Key::Plain(b'q')));
        assert_eq!(of_byte(0x7f), Meaning::Other);
    }

    #[test]
    fn keys_in_the_kitty_form() {
        let ctrl_p = Meaning::Key(Key::Ctrl(b'p'));
        check("112;5u", ctrl_p);
        check("112;5:1u", ctrl_p);
        check("112:80;5u", ctrl_p);
        check("112;69u", ctrl_p); // with Caps Lock
        check("1079::112;5u", ctrl_p); // on a Cyrillic layout
        check("112;7u", Meaning::Other); // with Alt, too
        check("97u", Meaning::Key(Key::Plain(b'a')));
    }

    #[test]
    fn releases_and_modifiers_alone_are_ignored() {
        check("112;5:3u", Meaning::Nothing);
        check("57442;5u", Meaning::Nothing);
        check("1;1:3A", Meaning::Nothing);
    }

    #[test]
    fn keys_in_xterms_form() {
        check("27;5;112~", Meaning::Key(Key::Ctrl(b'p')));
    }

    #[test]
    fn other_sequences() {
        check("A", Meaning::Other);
        check("15~", Meaning::Other);
        check("<0;3;4M", Meaning::Other);
        check("200~", Meaning::PasteBegins);
    }
}
