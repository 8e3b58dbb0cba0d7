use crate::extra::Link;
use crate::palette::{BACKGROUND, CURSOR, FOREGROUND, Rgb};
use crate::terminal::Terminal;

/// Browsers take addresses of about this length; longer links are left out.
const LONGEST_LINK: usize = 2048;

impl Terminal {
    /// Titles, links and colours, and what is a signal; all else (clipboard, working directories) is
    /// for the viewers' terminals and no state of the screen.
    pub fn obey_osc(&mut self, text: &str) {
        let (code, rest) = text.split_once(';').unwrap_or((text, ""));
        match code {
            "0" => {
                self.titles.window.set(rest);
                self.titles.icon.set(rest);
            }
            "1" => self.titles.icon.set(rest),
            "2" => self.titles.window.set(rest),
            "4" => self.set_indexed_colors(rest),
            "8" => self.set_hyperlink(rest),
            "9" => self.obey_osc_9(rest),
            "10" => self.set_special_colors(rest, FOREGROUND),
            "11" => self.set_special_colors(rest, BACKGROUND),
            "12" => self.set_special_colors(rest, CURSOR),
            "99" => self.obey_osc_99(rest),
            "104" if rest.is_empty() => self.palette.reset_indexed(),
            "104" => {
                for index in rest.split(';').filter_map(color_index) {
                    self.palette.reset(index);
                }
            }
            "110" => self.palette.reset(FOREGROUND),
            "111" => self.palette.reset(BACKGROUND),
            "112" => self.palette.reset(CURSOR),
            "133" => self.obey_osc_133(rest),
            "777" => self.obey_osc_777(rest),
            _ => {}
        }
    }

    fn set_indexed_colors(&mut self, text: &str) {
        let mut slots = text.split(';');
        while let (Some(index), Some(spec)) = (slots.next(), slots.next()) {
            let Some(index) = color_index(index) else {
                continue;
            };
            if spec == "?" {
                let color = self.palette.get(index);
                self.reply(&format!("\x1b]4;{index};{color}\x1b\\"));
            } else if let Some(color) = Rgb::parse(spec) {
                self.palette.set(index, color);
            }
        }
    }

    /// Further colours in one sequence are those that follow: foreground, background, cursor.
    fn set_special_colors(&mut self, text: &str, first: u16) {
        for (index, spec) in (first..=CURSOR).zip(text.split(';')) {
            if spec == "?" {
                let code = index - FOREGROUND + 10;
                let color = self.palette.get(index);
                self.reply(&format!("\x1b]{code};{color}\x1b\\"));
            } else if let Some(color) = Rgb::parse(spec) {
                self.palette.set(index, color);
            }
        }
    }

    fn set_hyperlink(&mut self, text: &str) {
        let Some((params, uri)) = text.split_once(';') else {
            return;
        };
        if uri.is_empty() {
            if params.trim().is_empty() {
                self.set_link(None);
            }
            return;
        }
        if text.len() > LONGEST_LINK {
            return;
        }
        let id = params
            .split(':')
            .find_map(|param| param.trim().strip_prefix("id="))
            .unwrap_or("");
        self.set_link(Some(Link::new(id, uri)));
    }
}

fn color_index(text: &str) -> Option<u16> {
    text.parse().ok().filter(|index| *index < 256)
}
