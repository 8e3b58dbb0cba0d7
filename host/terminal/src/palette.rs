use std::collections::BTreeMap;
use std::fmt;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rgb(pub u8, pub u8, pub u8);

/// As OSC 4 and its kin write it, with four digits each.
impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(r, g, b) = self;
        write!(f, "rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
    }
}

impl Rgb {
    /// `#rgb`, `#rrggbb`, `#rrrgggbbb`, `#rrrrggggbbbb`, and `rgb:r/g/b` with one to four digits.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix('#') {
            let width = digits.len() / 3;
            if !matches!(digits.len(), 3 | 6 | 9 | 12) || !digits.is_ascii() {
                return None;
            }
            let part = |n: usize| -> Option<u8> {
                let value = hex(&digits[n * width..(n + 1) * width])?;
                Some(if width == 1 {
                    (value << 4) as u8
                } else {
                    (value >> (4 * width - 8)) as u8
                })
            };
            return Some(Self(part(0)?, part(1)?, part(2)?));
        }
        let mut parts = text.strip_prefix("rgb:")?.split('/');
        let mut part = || -> Option<u8> {
            let digits = parts.next()?;
            let value = hex(digits)?;
            let max = (1_u32 << (4 * digits.len())) - 1;
            Some(((value * 255 + max / 2) / max) as u8)
        };
        let color = Self(part()?, part()?, part()?);
        parts.next().is_none().then_some(color)
    }
}

fn hex(digits: &str) -> Option<u32> {
    if !(1..=4).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// The colours that a program changed: 0 to 255 of the palette, then the three below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Palette {
    changed: BTreeMap<u16, Rgb>,
}

pub(crate) const FOREGROUND: u16 = 256;
pub(crate) const BACKGROUND: u16 = 257;
pub(crate) const CURSOR: u16 = 258;

impl Palette {
    pub fn changed(&self) -> impl Iterator<Item = (u16, Rgb)> {
        self.changed.iter().map(|(&index, &color)| (index, color))
    }

    pub fn set(&mut self, index: u16, color: Rgb) {
        self.changed.insert(index, color);
    }

    pub fn reset(&mut self, index: u16) {
        self.changed.remove(&index);
    }

    /// Resets 0 to 255.
    pub fn reset_indexed(&mut self) {
        self.changed = self.changed.split_off(&FOREGROUND);
    }

    /// The colour as changed, or as a terminal with xterm's colours on black has it: nobody
    /// knows the viewers' themes, of which there may be several or none.
    pub fn get(&self, index: u16) -> Rgb {
        if let Some(&color) = self.changed.get(&index) {
            return color;
        }
        match index {
            0..=15 => NAMED[usize::from(index)],
            16..=231 => {
                let level = |n: u16| if n == 0 { 0 } else { (55 + 40 * n) as u8 };
                let n = index - 16;
                Rgb(level(n / 36), level(n / 6 % 6), level(n % 6))
            }
            232..=255 => {
                let gray = (8 + 10 * (index - 232)) as u8;
                Rgb(gray, gray, gray)
            }
            BACKGROUND => Rgb(0, 0, 0),
            _ => Rgb(255, 255, 255),
        }
    }
}

const NAMED: [Rgb; 16] = [
    Rgb(0x2e, 0x34, 0x36),
    Rgb(0xcc, 0x00, 0x00),
    Rgb(0x4e, 0x9a, 0x06),
    Rgb(0xc4, 0xa0, 0x00),
    Rgb(0x34, 0x65, 0xa4),
    Rgb(0x75, 0x50, 0x7b),
    Rgb(0x06, 0x98, 0x9a),
    Rgb(0xd3, 0xd7, 0xcf),
    Rgb(0x55, 0x57, 0x53),
    Rgb(0xef, 0x29, 0x29),
    Rgb(0x8a, 0xe2, 0x34),
    Rgb(0xfc, 0xe9, 0x4f),
    Rgb(0x72, 0x9f, 0xcf),
    Rgb(0xad, 0x7f, 0xa8),
    Rgb(0x34, 0xe2, 0xe2),
    Rgb(0xee, 0xee, 0xec),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_in_every_notation() {
        for text in [
            "#f80",
            "#f08000",
            "rgb:f0/80/00",
            "rgb:f0f0/8080/0000",
            "#f00800000",
        ] {
            assert_eq!(Rgb::parse(text), Some(Rgb(0xf0, 0x80, 0)), "{text}");
        }
        assert_eq!(Rgb::parse("rgb:f/8/0"), Some(Rgb(255, 136, 0)));
        for text in [
            "",
            "#",
            "#12",
            "#1234567",
            "rgb:1/2",
            "rgb:1/2/3/4",
            "rgb:12345/0/0",
            "#é12",
            "red",
        ] {
            assert_eq!(Rgb::parse(text), None, "{text}");
        }
        assert_eq!(Rgb(1, 2, 255).to_string(), "rgb:0101/0202/ffff");
    }
}
