use agentd_terminal::{Emulator, Size};
use serde_json::Value;

/// An asciicast of version 3, read by the rules of its format.
#[derive(Clone, Debug)]
pub struct TestCast {
    /// The first line.
    pub header: Value,
    /// When after the one before, in seconds, its code, and its data.
    pub events: Vec<(f64, String, String)>,
}

impl TestCast {
    /// From its text, all of which must be as it should.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "half a line at the end");
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["version"], 3);
        assert!(header["timestamp"].is_u64(), "{header}");
        let mut events = Vec::new();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let event: (f64, String, String) =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let (interval, code, data) = &event;
            assert!(*interval >= 0.0 && interval.is_finite(), "{line}");
            match code.as_str() {
                "o" | "m" => {}
                "r" => drop(size(data)),
                "x" => drop(data.parse::<u8>().unwrap()),
                _ => panic!("an event of another kind: {line}"),
            }
            events.push(event);
        }
        TestCast { header, events }
    }

    /// The data of all events of a code.
    pub fn all(&self, code: &str) -> Vec<&str> {
        let of_code = self.events.iter().filter(|event| event.1 == code);
        of_code.map(|(_, _, data)| data.as_str()).collect()
    }

    /// What was printed.
    pub fn output(&self) -> String {
        self.all("o").concat()
    }

    /// How long it plays, in seconds.
    pub fn duration(&self) -> f64 {
        self.events.iter().map(|(interval, _, _)| interval).sum()
    }

    /// The lines of the screen at its end.
    pub fn screen(&self) -> Vec<String> {
        let number = |name: &str| {
            let number = self.header["term"][name].as_u64().unwrap();
            u16::try_from(number).unwrap()
        };
        let first = Size::new(number("cols"), number("rows")).unwrap();
        let mut emulator = Emulator::new(first, 0);
        for (_, code, data) in &self.events {
            match code.as_str() {
                "o" => emulator.advance(data.as_bytes()),
                "r" => emulator.resize(size(data)),
                _ => {}
            }
        }
        let lines = emulator.screen_text();
        lines
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }
}

#[track_caller]
fn size(data: &str) -> Size {
    let (cols, rows) = data.split_once('x').unwrap();
    Size::new(cols.parse().unwrap(), rows.parse().unwrap()).unwrap()
}
