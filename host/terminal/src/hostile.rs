//! Output that costs a terminal as much as it can: for tests and benchmarks.

/// A few bytes, to be repeated, that are much work for a terminal which obeys them to the letter.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What makes them hostile.
    pub name: &'static str,
    /// What comes once, before the rest.
    head: Vec<u8>,
    /// What is repeated.
    body: Vec<u8>,
}

impl Hostile {
    /// At least `length` bytes of it.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.head.clone();
        while bytes.len() < length {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// All of them.
pub fn inputs() -> Vec<Hostile> {
    let marks = "\u{301}".repeat(31);
    let address = "x".repeat(4000);
    let new = |name, head: &str, body: &str| Hostile {
        name,
        head: head.as_bytes().to_vec(),
        body: body.as_bytes().to_vec(),
    };
    let mut inputs = vec![
        new("text", "", "the quick brown fox\r\n"),
        new(
            "a marked character repeated",
            "",
            &format!("e{marks}\x1b[100000b"),
        ),
        new("a character repeated", "", "x\x1b[2147483647b"),
        new("a wide character repeated", "", "漢\x1b[2147483647b"),
        new(
            "a character repeated in insert mode",
            "\x1b[4h",
            "x\x1b[2147483647b",
        ),
        new("text in insert mode", "\x1b[4h", "x"),
        new(
            "a malformed CSI kept open",
            &format!("\x1b[{}", "?".repeat(60_000)),
            "é",
        ),
        new(
            "a malformed DCS kept open",
            &format!("\x1bP{}", "?".repeat(60_000)),
            "é",
        ),
        new("an OSC kept open", "\x1b]2;", "é"),
        new("a DCS kept open", "\x1bP$q", "é"),
        new("an APC kept open", "\x1b_", "é"),
        new("byte order marks", "", "\u{feff}"),
        new("C1 controls", "", "\u{85}"),
        new("characters and C1 controls", "", "é\u{84}"),
        new("a screen erased with a background", "\x1b[41m", "\x1b[2J"),
        new(
            "a screen erased but for what is protected",
            "\x1b[41m",
            "\x1b[?2J",
        ),
        new("the alignment pattern", "", "\x1b#8"),
        new("lines inserted", "", "\x1b[2147483647L"),
        new(
            "half of the lines inserted and deleted",
            "\x1b[41m\x1b[H",
            "\x1b[12L\x1b[12M",
        ),
        new("scrolling", "\x1b[41m", "\x1b[2147483647S\x1b[2147483647T"),
        new("scrolling by half", "\x1b[41m", "\x1b[12S\x1b[12T"),
        new("a region that ends early", "\x1b[1;2r\x1b[2H", "\n"),
        new("a region that begins late", "\x1b[2;999r\x1b[999H", "\n"),
        new("scrolling back", "\x1b[H", "\x1bM"),
        new(
            "cells inserted and deleted",
            "",
            "\x1b[2147483647@\x1b[2147483647P",
        ),
        new(
            "columns inserted and deleted",
            "",
            "\x1b[2147483647'}\x1b[2147483647'~",
        ),
        new("tabs without stops", "\x1b[3g", "\t\r"),
        new(
            "tabs counted",
            "\x1b[3g",
            "\x1b[2147483647I\x1b[2147483647Z",
        ),
        new("screens switched", "\x1b[41m", "\x1b[?1049h\x1b[?1049l"),
        new("resets", "", "\x1bc"),
        new(
            "titles pushed and popped",
            &format!("\x1b]0;{address}\x07"),
            "\x1b[22t\x1b[23t",
        ),
        new("keyboard flags pushed and popped", "", "\x1b[>1u\x1b[<99u"),
        new("cursor positions asked", "", "\x1b[6n"),
        new(
            "colours asked",
            "",
            &format!("\x1b]4{}\x07", ";1;?".repeat(1000)),
        ),
        new(
            "colours set",
            "",
            &format!("\x1b]4{}\x07", ";1;#123456".repeat(1000)),
        ),
        new(
            "styles under a long link",
            &format!("\x1b]8;;{address}\x07"),
            "\x1b[58;5;1m\x1b[m",
        ),
        new(
            "cursor restored under a long link",
            &format!("\x1b]8;;{address}\x07"),
            "\x1b8",
        ),
        new("parameters without end", "\x1b[", "1;"),
        new("control characters in a CSI", "\x1b[", "\n"),
    ];
    let mut invalid = new("bytes that are not UTF-8", "", "");
    invalid.body = vec![0xff];
    inputs.push(invalid);
    let mut cut = new("characters cut short", "", "");
    cut.body = "é".as_bytes()[..1].repeat(2);
    inputs.push(cut);
    let mut links = new("long links", "", "");
    for n in 0..100 {
        links
            .body
            .extend(format!("\x1b]8;;{n}{address}\x07x").as_bytes());
    }
    inputs.push(links);
    let mut colors = new("a colour for each cell", "", "");
    let mut clusters = new("another marked character in each cell", "", "");
    for n in 0..4096_u32 {
        let [_, r, g, b] = (n * 4099).to_be_bytes();
        colors
            .body
            .extend(format!("\x1b[38;2;{r};{g};{b};48;2;{b};{r};{g}mx").as_bytes());
        clusters.body.push(b'e');
        for shift in [0, 5, 10, 15] {
            let mark = char::from_u32(0x300 + (n >> shift & 31)).unwrap_or('\u{300}');
            clusters
                .body
                .extend(mark.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    inputs.extend([colors, clusters]);
    inputs
}
