//! Keys that are pressed for somebody.

use std::fmt::Write;

/// What xterm sends for keys, and the names that tmux has for them (tmux(1), KEY BINDINGS).
const NAMES: [(&[u8], &str); 9] = [
    (b"\r", "Enter"),
    (b"\x1b", "Escape"),
    (b"\t", "Tab"),
    (b"\x1b[Z", "BTab"),
    (b"\x7f", "BSpace"),
    (b"\x1b[A", "Up"),
    (b"\x1b[B", "Down"),
    (b"\x1b[C", "Right"),
    (b"\x1b[D", "Left"),
];

/// The name of the key that is pressed by these bytes.
pub(crate) fn name(bytes: &[u8]) -> Option<&'static str> {
    let named = NAMES.iter().find(|(sent, _)| *sent == bytes);
    named.map(|(_, name)| *name)
}

/// Each byte, with a space before it, as `send-keys -H` takes them.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, " {byte:02x}");
        text
    })
}
