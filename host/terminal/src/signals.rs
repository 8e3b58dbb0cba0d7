use crate::terminal::Terminal;

/// Characters of a notification, at most.
const LONGEST_TEXT: usize = 300;

/// Bytes of the parts of a notification that are kept until the last of them comes.
const LONGEST_PARTS: usize = 4096;

/// What a program says to whoever looks after it, beside what it shows: since it was asked for last.
/// It is no state of the screen, so no snapshot has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    /// The bell rang.
    pub bell: bool,
    /// The text of the last notification (OSC 9, 99 or 777).
    pub notification: Option<String>,
    /// The last change of its progress (OSC 9;4).
    pub progress: Option<Progress>,
    /// The last mark of a shell (OSC 133).
    pub mark: Option<Mark>,
}

impl Signals {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Signals::default()
    }
}

/// What a program says about how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is under way.
    None,
    /// Something is under way.
    Active,
    /// It has failed.
    Error,
    /// It is held up.
    Paused,
}

/// What a shell says about where its user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// At its prompt (`A` and `B`).
    Prompt,
    /// A command runs (`C`).
    Command,
    /// It has ended (`D`).
    Done,
}

/// A notification of kitty's kind, which comes in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    id: String,
    title: String,
    body: String,
}

impl Terminal {
    pub fn ring(&mut self) {
        self.signals.bell = true;
    }

    /// OSC 9: a notification, or one of the subjects that ConEmu gave numbers.
    pub fn obey_osc_9(&mut self, text: &str) {
        let (first, rest) = text.split_once(';').unwrap_or((text, ""));
        let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
        match first {
            "4" => {
                let state = rest.split(';').next().unwrap_or("");
                self.signals.progress = Some(match state {
                    "1" | "3" => Progress::Active,
                    "2" => Progress::Error,
                    "4" => Progress::Paused,
                    _ => Progress::None,
                });
            }
            _ if is_number => {}
            _ => self.notify(text),
        }
    }

    /// OSC 99: keys and values, and a part of a notification.
    /// <https://sw.kovidgoyal.net/kitty/desktop-notifications/>
    pub fn obey_osc_99(&mut self, text: &str) {
        let Some((keys, payload)) = text.split_once(';') else {
            return;
        };
        let value = |key: &str| {
            let mut pairs = keys.split(':').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let payload = match value("e") {
            Some("1") => decode_base64(payload).unwrap_or_default(),
            _ => payload.to_owned(),
        };
        let id = value("i").unwrap_or("");
        if self.notification.id != id {
            self.notification = Parts::default();
            id.clone_into(&mut self.notification.id);
        }
        let parts = &mut self.notification;
        let part = match value("p").unwrap_or("title") {
            "title" => &mut parts.title,
            "body" => &mut parts.body,
            _ => return,
        };
        if part.len() + payload.len() <= LONGEST_PARTS {
            part.push_str(&payload);
        }
        if value("d") != Some("0") {
            let Parts { title, body, .. } = std::mem::take(&mut self.notification);
            self.notify_of(&title, &body);
        }
    }

    /// OSC 777: `notify`, a title and a body.
    pub fn obey_osc_777(&mut self, text: &str) {
        if let Some(text) = text.strip_prefix("notify;") {
            let (title, body) = text.split_once(';').unwrap_or((text, ""));
            self.notify_of(title, body);
        }
    }

    /// OSC 133, of which the first letter counts.
    pub fn obey_osc_133(&mut self, text: &str) {
        self.signals.mark = match text.as_bytes().first() {
            Some(b'A' | b'B') => Some(Mark::Prompt),
            Some(b'C') => Some(Mark::Command),
            Some(b'D') => Some(Mark::Done),
            _ => return,
        };
    }

    fn notify_of(&mut self, title: &str, body: &str) {
        match (title.is_empty(), body.is_empty()) {
            (_, true) => self.notify(title),
            (true, false) => self.notify(body),
            (false, false) => self.notify(&format!("{title}: {body}")),
        }
    }

    fn notify(&mut self, text: &str) {
        let words = text.split(|c: char| c.is_control() || c.is_whitespace());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let text: String = words.join(" ").chars().take(LONGEST_TEXT).collect();
        if !text.is_empty() {
            self.signals.notification = Some(text);
        }
    }
}

/// None for what is not base64 of UTF-8.
fn decode_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Emulator, Size};

    fn signals(output: &str) -> Signals {
        let mut emulator = Emulator::new(Size::default(), 0);
        emulator.advance(output.as_bytes());
        let signals = emulator.take_signals();
        assert!(emulator.take_signals().is_empty());
        signals
    }

    #[track_caller]
    fn check_notification(output: &str, expected: Option<&str>) {
        assert_eq!(
            signals(output).notification.as_deref(),
            expected,
            "{output:?}"
        );
    }

    #[test]
    fn the_bell_is_heard_outside_of_sequences_only() {
        assert!(signals("a\x07b").bell);
        assert!(!signals("\x1b]0;title\x07").bell);
        assert!(signals("text").is_empty());
    }

    #[test]
    fn notifications_of_all_kinds_are_read() {
        check_notification("\x1b]9;all done\x07", Some("all done"));
        check_notification("\x1b]9;2 of 3 done\x07", Some("2 of 3 done"));
        check_notification(
            "\x1b]777;notify;Agent;needs you\x1b\\",
            Some("Agent: needs you"),
        );
        check_notification("\x1b]777;precmd\x1b\\", None);
        check_notification("\x1b]99;;plain\x1b\\", Some("plain"));
        check_notification(
            "\x1b]99;i=1:d=0:p=title;one\x1b\\\x1b]99;i=1:p=body:e=1;dHdv\x1b\\",
            Some("one: two"),
        );
        check_notification("\x1b]99;i=1:d=0:p=title;one\x1b\\", None);
        check_notification("\x1b]99;i=1:p=close;\x1b\\", None);
        check_notification("\x1b]9;a\tb\x07", Some("ab"));
        check_notification("\x1b]9;\x07", None);
        let long = "x".repeat(5000);
        check_notification(&format!("\x1b]9;{long}\x07"), Some(&long[..LONGEST_TEXT]));
    }

    #[test]
    fn what_conemu_has_numbers_for_is_no_notification() {
        check_notification("\x1b]9;9;/tmp\x07", None);
        check_notification("\x1b]9;12\x07", None);
        for (state, progress) in [
            ("0", Progress::None),
            ("1;50", Progress::Active),
            ("2", Progress::Error),
            ("3", Progress::Active),
            ("4;1", Progress::Paused),
        ] {
            let signals = signals(&format!("\x1b]9;4;{state}\x07"));
            assert_eq!(
                (signals.progress, signals.notification),
                (Some(progress), None)
            );
        }
    }

    #[test]
    fn a_shells_marks_are_read() {
        let mark = |text: &str| signals(&format!("\x1b]133;{text}\x07")).mark;
        assert_eq!(mark("A;aid=1"), Some(Mark::Prompt));
        assert_eq!(mark("C"), Some(Mark::Command));
        assert_eq!(mark("D;1"), Some(Mark::Done));
        assert_eq!(mark("Z"), None);
    }

    #[test]
    fn a_snapshot_gives_no_signal() {
        let mut emulator = Emulator::new(Size::default(), 0);
        emulator.advance(b"\x07\x1b]9;done\x07\x1b]2;title\x07text");
        assert!(!emulator.take_signals().is_empty());
        let mut other = Emulator::new(Size::default(), 0);
        other.advance(&emulator.snapshot());
        assert!(other.take_signals().is_empty());
    }

    #[test]
    fn base64() {
        assert_eq!(decode_base64("YQ==").as_deref(), Some("a"));
        assert_eq!(decode_base64("YWI").as_deref(), Some("ab"));
        assert_eq!(decode_base64("w7w=").as_deref(), Some("ü"));
        assert_eq!(decode_base64("/w=="), None);
        assert_eq!(decode_base64("!"), None);
    }
}
