use std::fmt::Write;

use crate::cell::{Attributes, Color, ColorKind, Style};
use crate::extra::Extra;
use crate::params::Params;
use crate::terminal::Terminal;

impl Terminal {
    /// SGR.
    pub fn set_style(&mut self, params: &Params) {
        let mut groups = params.groups();
        let mut extra = None;
        while let Some(group) = groups.next() {
            let pen = &mut self.pen;
            let attributes = &mut pen.attributes;
            match group[0] {
                0 => {
                    // The protection goes with it; the link stays, in `extra`.
                    *pen = Style {
                        extra: pen.extra,
                        ..Style::default()
                    };
                    self.set_underline_color(&mut extra, Color::DEFAULT);
                }
                1 => attributes.set(Attributes::BOLD, true),
                2 => attributes.set(Attributes::DIM, true),
                3 => attributes.set(Attributes::ITALIC, true),
                4 => {
                    let kind = group.get(1).copied().unwrap_or(1);
                    attributes.set_underline(if (0..=5).contains(&kind) {
                        kind as u8
                    } else {
                        1
                    });
                }
                5 => attributes.set(Attributes::BLINK, true),
                7 => attributes.set(Attributes::INVERSE, true),
                8 => attributes.set(Attributes::HIDDEN, true),
                9 => attributes.set(Attributes::STRIKE, true),
                21 => attributes.set_underline(2),
                22 => {
                    attributes.set(Attributes::BOLD, false);
                    attributes.set(Attributes::DIM, false);
                }
                23 => attributes.set(Attributes::ITALIC, false),
                24 => attributes.set_underline(0),
                25 => attributes.set(Attributes::BLINK, false),
                27 => attributes.set(Attributes::INVERSE, false),
                28 => attributes.set(Attributes::HIDDEN, false),
                29 => attributes.set(Attributes::STRIKE, false),
                code @ 30..=37 => pen.fg = Color::named((code - 30) as u8),
                39 => pen.fg = Color::DEFAULT,
                code @ 40..=47 => pen.bg = Color::named((code - 40) as u8),
                49 => pen.bg = Color::DEFAULT,
                53 => attributes.set(Attributes::OVERLINE, true),
                55 => attributes.set(Attributes::OVERLINE, false),
                59 => self.set_underline_color(&mut extra, Color::DEFAULT),
                code @ 90..=97 => pen.fg = Color::named((code - 90 + 8) as u8),
                code @ 100..=107 => pen.bg = Color::named((code - 100 + 8) as u8),
                code @ (38 | 48 | 58) => {
                    let Some(color) = color(group, &mut groups) else {
                        continue;
                    };
                    match code {
                        38 => pen.fg = color,
                        48 => pen.bg = color,
                        _ => self.set_underline_color(&mut extra, color),
                    }
                }
                _ => {}
            }
        }
        if let Some(extra) = extra {
            self.set_extra(extra);
        }
    }

    /// Collects in `extra` what is to be interned at the end of the sequence.
    fn set_underline_color(&self, extra: &mut Option<Extra>, color: Color) {
        if self.pen.extra != 0 || extra.is_some() || color != Color::DEFAULT {
            extra
                .get_or_insert_with(|| self.extra(self.pen))
                .underline_color = color;
        }
    }
}

/// A colour as `38:2::r:g:b`, `38:5:n`, or with semicolons and hence as further parameters.
fn color<'a>(group: &[i32], groups: &mut impl Iterator<Item = &'a [i32]>) -> Option<Color> {
    let byte = |value: i32| value.max(0) as u8;
    match group[1..] {
        [] => {
            let mut next = || groups.next().map(|group| group[0]);
            match next()? {
                2 => {
                    let (r, g, b) = (next(), next(), next());
                    let part = |value: Option<i32>| byte(value.unwrap_or(0));
                    Some(Color::rgb(part(r), part(g), part(b)))
                }
                5 => Some(Color::indexed(byte(next().unwrap_or(0)))),
                _ => None,
            }
        }
        [2, _, r, g, b, ..] | [2, r, g, b] => Some(Color::rgb(byte(r), byte(g), byte(b))),
        [5, n, ..] => Some(Color::indexed(byte(n))),
        _ => None,
    }
}

/// The parameters that bring any pen to this style, link and protection aside.
pub(crate) fn parameters(style: Style, underline_color: Color) -> String {
    let mut text = String::from("0");
    let flags = [
        (Attributes::BOLD, 1),
        (Attributes::DIM, 2),
        (Attributes::ITALIC, 3),
        (Attributes::BLINK, 5),
        (Attributes::INVERSE, 7),
        (Attributes::HIDDEN, 8),
        (Attributes::STRIKE, 9),
        (Attributes::OVERLINE, 53),
    ];
    for (flag, code) in flags {
        if style.attributes.has(flag) {
            push(&mut text, format_args!("{code}"));
        }
    }
    match style.attributes.underline() {
        0 => {}
        1 => push(&mut text, format_args!("4")),
        kind => push(&mut text, format_args!("4:{kind}")),
    }
    push_color(&mut text, 30, style.fg);
    push_color(&mut text, 40, style.bg);
    match underline_color.kind() {
        ColorKind::Default => {}
        ColorKind::Named(n) | ColorKind::Indexed(n) => push(&mut text, format_args!("58:5:{n}")),
        ColorKind::Rgb(r, g, b) => push(&mut text, format_args!("58:2::{r}:{g}:{b}")),
    }
    text
}

fn push_color(text: &mut String, base: u8, color: Color) {
    let direct = base + 8;
    match color.kind() {
        ColorKind::Default => {}
        ColorKind::Named(n @ 0..8) => push(text, format_args!("{}", base + n)),
        ColorKind::Named(n) => push(text, format_args!("{}", base + 60 + (n & 7))),
        ColorKind::Indexed(n) => push(text, format_args!("{direct};5;{n}")),
        ColorKind::Rgb(r, g, b) => push(text, format_args!("{direct};2;{r};{g};{b}")),
    }
}

fn push(text: &mut String, parameter: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = write!(text, ";{parameter}");
}
